using Iced.Intel;
using TpServe.Kernels.Cpu.Emit;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>One vector instruction between loads and stores, executed by the machine or the interpreter on a block of memory.</summary>
/// <remarks>Registers  0 destination, 1 first source, 2 second source, k1 mask, k2 mask result, rax general operand, rdi the block.</remarks>
internal sealed unsafe class VectorFrame : IDisposable
{
    /// <summary>Bytes of the block.</summary>
    public const int Bytes = 512;

    /// <summary>Destination register before.</summary>
    public const int OldAt = 0;

    /// <summary>First source register.</summary>
    public const int FirstAt = 64;

    /// <summary>Second source register.</summary>
    public const int SecondAt = 128;

    /// <summary>Memory source.</summary>
    public const int MemoryAt = 192;

    /// <summary>k1, k2 and rax before.</summary>
    public const int ScalarsAt = 256;

    /// <summary>MXCSR during the instruction.</summary>
    public const int ControlAt = 280;

    /// <summary>Destination register, k2 and rax after.</summary>
    public const int ResultAt = 320;

    /// <summary>Memory destination.</summary>
    public const int StoreAt = 448;

    private readonly byte[] _code;
    private ExecutableMemory? _native;
    private CodeInterpreter? _interpreter;

    /// <summary>The frame around an instruction; without AVX-512 its vectors are 32 bytes and there are no masks.</summary>
    public VectorFrame(in Instruction instruction, bool hasAvx512)
    {
        Instruction = instruction;
        Assembler c = new(64);
        c.vstmxcsr(__dword_ptr[rsp - 8]);
        c.mov(rax, __qword_ptr[rdi + (ScalarsAt + 16)]);
        if (hasAvx512)
        {
            c.vmovups(zmm0, __zmmword_ptr[rdi + OldAt]);
            c.vmovups(zmm1, __zmmword_ptr[rdi + FirstAt]);
            c.vmovups(zmm2, __zmmword_ptr[rdi + SecondAt]);
            c.kmovq(k1, __qword_ptr[rdi + ScalarsAt]);
            c.kmovq(k2, __qword_ptr[rdi + (ScalarsAt + 8)]);
        }
        else
        {
            c.vmovups(ymm0, __ymmword_ptr[rdi + OldAt]);
            c.vmovups(ymm1, __ymmword_ptr[rdi + FirstAt]);
            c.vmovups(ymm2, __ymmword_ptr[rdi + SecondAt]);
        }
        c.vldmxcsr(__dword_ptr[rdi + ControlAt]);
        c.AddInstruction(instruction);
        c.vldmxcsr(__dword_ptr[rsp - 8]);
        if (hasAvx512)
        {
            c.vmovups(__zmmword_ptr[rdi + ResultAt], zmm0);
            c.kmovq(__qword_ptr[rdi + (ResultAt + 64)], k2);
        }
        else
        {
            c.vmovups(__ymmword_ptr[rdi + ResultAt], ymm0);
        }
        c.mov(__qword_ptr[rdi + (ResultAt + 72)], rax);
        c.vzeroupper();
        c.ret();
        using MemoryStream code = new();
        c.Assemble(new StreamCodeWriter(code), 0);
        _code = code.ToArray();
    }

    /// <summary>The instruction.</summary>
    public Instruction Instruction { get; }

    /// <summary>The machine executes it.</summary>
    public void RunNatively(byte* block)
    {
        _native ??= new ExecutableMemory(_code);
        ((delegate* unmanaged<byte*, void>)_native.Address)(block);
    }

    /// <summary>The interpreter executes it, always on the same block.</summary>
    public void Interpret(byte* block)
    {
        if (_interpreter is null)
        {
            _interpreter = new CodeInterpreter(_code, [.. HostFeatures.Avx512BFloat16, CpuidFeature.AVX_VNNI]);
            _interpreter.Allow((nint)block, Bytes, write: true);
        }
        _interpreter.Run(0, (nint)block);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _native?.Dispose();
        _interpreter?.Dispose();
    }
}
