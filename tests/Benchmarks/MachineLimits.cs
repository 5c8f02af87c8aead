using System.Diagnostics;
using System.Runtime.Intrinsics;
using Iced.Intel;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Emit;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Benchmarks;

/// <summary>What the machine can do right now: streaming read, and products of the instruction path.</summary>
/// <remarks>Each is the best of three short tries: what stands beside a measurement is taken right before it, because a shared host drifts by the second.</remarks>
internal sealed unsafe class MachineLimits(CpuThreads threads, InstructionFamily family) : IDisposable
{
    private const int Independent = 12; // products in flight: more than latency × pipes of any family
    /// <summary>More than any cache holds.</summary>
    public const long ReadBytes = 256L << 20;
    private readonly WeightMemory _memory = Written();
    private readonly ExecutableMemory _integers = Loop(family, family.HasVnni ? VectorOp.DotBytes : VectorOp.MultiplyAddBytes);
    private readonly ExecutableMemory _bfloats = Loop(family, family.HasBFloat16 ? VectorOp.DotBFloats : VectorOp.MultiplyAdd231);
    private readonly ExecutableMemory _floats = Loop(family, VectorOp.MultiplyAdd231);

    /// <summary>Memory read as a stream by all threads, in GB/s.</summary>
    public double ReadGigabytes()
    {
        ReadWork work = new(_memory.Pointer);
        double best = 0;
        for (int i = 0; i < 3; i++)
        {
            long start = Stopwatch.GetTimestamp();
            threads.Run(ref work, (int)(ReadBytes >> 19), 1);
            best = Math.Max(best, ReadBytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }
        return best;
    }

    /// <summary>
    /// Multiply-adds counted twice: of the dot instruction, or of fused multiply-adds. Without VNNI, of one VPMADDUBSW and one VPADDW for 16
    /// products: what 8-bit codes take; codes of fewer bits take less and can exceed it.
    /// </summary>
    public double GigaOperations(WeightFormat format)
    {
        const int items = 64, loops = 2000;
        (ExecutableMemory code, int operations) = format switch
        {
            WeightFormat.BF16 => (_bfloats, family.HasBFloat16 ? 4 : 2),
            WeightFormat.F16 or WeightFormat.F32 => (_floats, 2),
            _ => (_integers, family.HasVnni ? 8 : 4),
        };
        DotWork work = new(code.Address, loops);
        double best = 0;
        for (int i = 0; i < 3; i++)
        {
            long start = Stopwatch.GetTimestamp();
            threads.Run(ref work, items, 1);
            best = Math.Max(best, (double)items * loops * Independent * family.Lanes * operations / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
        }
        return best;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _memory.Dispose();
        _integers.Dispose();
        _bfloats.Dispose();
        _floats.Dispose();
    }

    /// <summary>Memory that has been written: until then every page is the kernel's one page of zeros, which the caches hold.</summary>
    private static WeightMemory Written()
    {
        WeightMemory memory = new(ReadBytes);
        for (long i = 0; i < ReadBytes; i += 64)
            memory.Pointer[i] = 0;
        return memory;
    }

    /// <summary>Independent products a round, rounds in edi.</summary>
    private static ExecutableMemory Loop(InstructionFamily family, VectorOp op)
    {
        VectorAssembler vector = new(family);
        Assembler c = vector.Code;
        Label loop = c.CreateLabel();
        for (int i = 0; i < 16; i++)
            vector.Clear(i);
        c.Label(ref loop);
        for (int i = 0; i < Independent; i++)
        {
            if (op == VectorOp.MultiplyAddBytes)
            {
                vector.Op(op, 15, 13, 14);
                vector.Op(VectorOp.AddWords, i, i, 15);
                continue;
            }
            vector.Op(op, i, 13, 14);
        }
        c.dec(edi);
        c.jnz(loop);
        c.vzeroupper();
        c.ret();
        using MemoryStream code = new();
        c.Assemble(new StreamCodeWriter(code), 0);
        return new ExecutableMemory(code.ToArray());
    }

    private readonly struct ReadWork(byte* memory) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            Vector512<int> a = default, b = default, c = default, d = default;
            for (byte* p = memory + ((long)first << 19); p < memory + ((long)end << 19); p += 256)
            {
                a |= Vector512.Load((int*)p);
                b |= Vector512.Load((int*)(p + 64));
                c |= Vector512.Load((int*)(p + 128));
                d |= Vector512.Load((int*)(p + 192));
            }
            if (Vector512.Sum(a | b | c | d) == 1)
                Console.WriteLine();
        }
    }

    private readonly struct DotWork(nint code, int loops) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int i = first; i < end; i++)
                ((delegate* unmanaged<int, void>)code)(loops);
        }
    }
}
