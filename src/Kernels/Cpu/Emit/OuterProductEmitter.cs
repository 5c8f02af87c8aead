using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Iced.Intel;
using TpServe.Kernels.Cpu.Ops;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>The inner loops of attention as machine code, for up to four rows and four vectors of 16 lanes.</summary>
/// <remarks>
/// What .NET lacks and this is for: VCVTPH2PS from memory, and accumulators that stay in registers in the narrow families.
/// Numerics each sum is one chain of fused multiply-adds in ascending i; elements are widened exactly, and exactly multiplied by their scales where
///          they are codes (<see cref="ElementScales"/>).
/// Cost     of a cache's elements, what comes next is prefetched while this is used: blocks lie anywhere, and the hardware finds each one cold. To
///          the second level, for blocks of many heads lie a power of two apart and would drive each other out of the first. Every line is asked
///          for twice, since a processor may drop what it has no buffer for: measured 15 GB/s on one thread, 10 where each is asked for once, 8 by none.
/// Registers rdi OuterCall, rsi a, rcx and r14 one and three rows of a, r8 bytes of a step of b, r9 addresses of b, r10 steps left, r11 sums,
///           rax bytes between rows of sums, rbx, rbp, r12, r13 the vectors of b; in the loop rax the scales, and rdx, r15, r9, r11 from b to what
///           comes next. Sums from register 0, then rows of a, then a vector of b, then the scale of a step.
/// </remarks>
internal static class OuterProductEmitter
{
    private const int ScaleRowBytes = ElementScales.Row * sizeof(float);
    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];
    private static readonly AssemblerRegister64[] Pointers = [rbx, rbp, r12, r13];
    private static readonly AssemblerRegister64[] ToNext = [rdx, r15, r9, r11];

    /// <summary>Writes the function of a shape.</summary>
    public static void Emit(InstructionFamily family, ElementType type, ScalesOf scales, int rows, int vectors, CodeWriter writer)
    {
        VectorAssembler vector = new(family);
        Assembler c = vector.Code;
        foreach (AssemblerRegister64 register in Saved)
            c.push(register);
        c.mov(rcx, Field(nameof(OuterCall.RowBytes)));
        c.lea(r14, __[rcx + (rcx * 2)]);
        c.mov(r8, Field(nameof(OuterCall.StepBytes)));
        c.mov(rax, Field(nameof(OuterCall.SumBytes)));
        int mostOfThree = scales == ScalesOf.Steps ? 1 : 2; // the scale takes the last register
        int most = family.IsWide ? vectors : Math.Min(vectors, rows switch { 1 => 4, 2 => 2, 3 => mostOfThree, _ => 1 });
        for (int first = 0; first < vectors; first += most)
            EmitPass(vector, type, scales, rows, first, Math.Min(most, vectors - first));
        c.vzeroupper();
        foreach (AssemblerRegister64 register in Saved.Reverse())
            c.pop(register);
        c.ret();
        c.Assemble(writer, 0);
    }

    // Some vectors of 16 lanes, each one register or two.
    private static void EmitPass(VectorAssembler vector, ElementType type, ScalesOf scales, int rows, int first, int vectors)
    {
        Assembler c = vector.Code;
        Label loop = c.CreateLabel(), add = c.CreateLabel(), begin = c.CreateLabel(), done = c.CreateLabel();
        int parts = 64 / vector.Family.VectorBytes, registers = vectors * parts, a = rows * registers, b = a + rows, scale = b + 1;
        bool prefetches = type != ElementType.Float32; // float32 is what has been converted, and so lies in the cache
        c.mov(rsi, Field(nameof(OuterCall.A)));
        c.mov(r10, Field(nameof(OuterCall.Count)));
        c.mov(r9, Field(nameof(OuterCall.B)));
        for (int v = 0; v < vectors; v++)
            c.mov(Pointers[v], __qword_ptr[r9 + (8 * (first + v))]);

        // 1. Sums: zero, or what is there.
        c.cmp(Field(nameof(OuterCall.IsFresh)), 0);
        c.je(add);
        for (int sum = 0; sum < a; sum++)
            vector.Clear(sum);
        c.jmp(begin);
        c.Label(ref add);
        ForEachSum((sum, at) => vector.Load(sum, at));

        // 2. A step: each vector of b once for all rows.
        c.Label(ref begin);
        c.test(r10, r10);
        c.jz(done);
        if (scales != ScalesOf.Nothing)
            c.mov(rax, Field(nameof(OuterCall.Scales)));
        if (prefetches)
        {
            c.mov(r11, Field(nameof(OuterCall.Next)));
            for (int v = 0; v < vectors; v++)
            {
                c.mov(ToNext[v], __qword_ptr[r11 + (8 * (first + v))]);
                c.sub(ToNext[v], Pointers[v]);
            }
        }
        c.Label(ref loop);
        for (int row = 0; row < rows; row++)
            vector.Broadcast(a + row, Row(row));
        for (int register = 0; register < registers; register++)
        {
            int part = register % parts, v = register / parts, block = (first + v) * 16 / Q8Block.Elements;
            if (prefetches && part == 0 && (scales != ScalesOf.Steps || (first + v) % 2 == 0)) // two vectors of codes side by side are half a line
                c.prefetcht1(__byte_ptr[Pointers[v] + ToNext[v]]);
            EmitElements(vector, type, b, Pointers[v], part * vector.Family.Lanes);
            if (scales == ScalesOf.Steps && part == 0 && (v == 0 || (first + v) % 2 == 0))
                vector.Broadcast(scale, rax, block * ScaleRowBytes);
            if (scales == ScalesOf.Steps)
                vector.Op(VectorOp.Multiply, b, b, scale);
            else if (scales == ScalesOf.Lanes)
                vector.Op(VectorOp.Multiply, b, b, VectorAssembler.At(rax, (first * 64) + (register * vector.Family.VectorBytes)));
            for (int row = 0; row < rows; row++)
                vector.Op(VectorOp.MultiplyAdd231, (row * registers) + register, a + row, b);
        }
        c.add(rsi, sizeof(float));
        for (int v = 0; v < vectors; v++)
            c.add(Pointers[v], r8);
        if (scales == ScalesOf.Steps)
            c.add(rax, sizeof(float));
        c.dec(r10);
        if (scales == ScalesOf.Lanes)
        {
            c.jz(done);
            c.test(r10d, Q8Block.Elements - 1);
            c.jnz(loop);
            c.add(rax, ScaleRowBytes); // the next block of steps: there are whole ones, so they may be counted from the end
            c.jmp(loop);
        }
        else
        {
            c.jnz(loop);
        }
        c.Label(ref done);
        if (scales != ScalesOf.Nothing)
            c.mov(rax, Field(nameof(OuterCall.SumBytes)));
        ForEachSum((sum, at) => vector.Store(at, sum));

        void ForEachSum(Action<int, MemoryOperand> emit)
        {
            c.mov(r11, Field(nameof(OuterCall.Sums)));
            for (int row = 0; row < rows; row++)
            {
                for (int register = 0; register < registers; register++)
                    emit((row * registers) + register, VectorAssembler.At(r11, (first * 64) + (register * vector.Family.VectorBytes)));
                c.add(r11, rax);
            }
        }
    }

    private static void EmitElements(VectorAssembler vector, ElementType type, int target, AssemblerRegister64 at, int lane)
    {
        switch (type)
        {
            case ElementType.Float16:
                vector.Op(VectorOp.HalfToFloat, target, VectorAssembler.At(at, 2 * lane));
                break;
            case ElementType.BFloat16:
                vector.Op(VectorOp.WidenWords, target, VectorAssembler.At(at, 2 * lane));
                vector.Shift(VectorOp.LeftDwords, target, target, 16);
                break;
            case ElementType.Q8:
                vector.Op(VectorOp.WidenSignedBytes, target, VectorAssembler.At(at, lane));
                vector.Op(VectorOp.ToFloat, target, target);
                break;
            default:
                vector.Load(target, VectorAssembler.At(at, 4 * lane));
                break;
        }
    }

    private static MemoryOperand Row(int row) => row switch
    {
        0 => new MemoryOperand(rsi),
        1 => new MemoryOperand(rsi, rcx, 1),
        2 => new MemoryOperand(rsi, rcx, 2),
        _ => new MemoryOperand(rsi, r14, 1),
    };

    private static AssemblerMemoryOperand Field(string field) => __qword_ptr[rdi + (int)Marshal.OffsetOf<OuterCall>(field)];
}

/// <summary>The emitted loops of one element type and its scales: by rows and vectors.</summary>
/// <remarks>As <see cref="EmittedKernel"/>: kept for the life of the process, with their memory.</remarks>
[SuppressMessage("Design", "CA1001", Justification = "Kept for the life of the process; the handle frees itself with it.")]
internal sealed unsafe class OuterProductCode
{
    private const int Most = 4;
    private static readonly ConcurrentDictionary<(InstructionFamily, ElementType, ScalesOf), OuterProductCode> Known = new();
    private readonly ExecutableMemory _memory;
    private readonly nint[] _entries = new nint[Most * Most];

    private OuterProductCode(InstructionFamily family, ElementType type, ScalesOf scales)
    {
        (byte[] code, int[] offsets) = Emit(family, type, scales);
        _memory = new ExecutableMemory(code);
        for (int i = 0; i < offsets.Length; i++)
            _entries[i] = _memory.Address + offsets[i];
    }

    /// <summary>The loops of a type, emitted when first asked for.</summary>
    public static OuterProductCode Of(InstructionFamily family, ElementType type, ScalesOf scales) =>
        Known.GetOrAdd((family, type, scales), static key => new OuterProductCode(key.Item1, key.Item2, key.Item3));

    /// <summary>All functions, and where each begins: index 4 · (rows − 1) + vectors − 1.</summary>
    public static (byte[] Code, int[] Offsets) Emit(InstructionFamily family, ElementType type, ScalesOf scales)
    {
        using MemoryStream code = new();
        int[] offsets = new int[Most * Most];
        for (int i = 0; i < offsets.Length; i++)
        {
            while (code.Length % 64 != 0)
                code.WriteByte(0xCC);
            offsets[i] = (int)code.Length;
            OuterProductEmitter.Emit(family, type, scales, 1 + (i / Most), 1 + (i % Most), new StreamCodeWriter(code));
        }
        return (code.ToArray(), offsets);
    }

    /// <summary>Runs the loop for 1..4 rows and 1..4 vectors.</summary>
    public void Run(int rows, int vectors, OuterCall* call) => ((delegate* unmanaged[SuppressGCTransition]<OuterCall*, void>)_entries[(Most * (rows - 1)) + vectors - 1])(call);
}

/// <summary>sums[r][j] += Σ_i a[i][r] · b[i][j]. Read by emitted code: the layout is fixed.</summary>
[StructLayout(LayoutKind.Explicit, Size = 80)]
internal unsafe struct OuterCall
{
    /// <summary>a of row 0; the next i is the next float.</summary>
    [FieldOffset(0)] public float* A;

    /// <summary>Bytes from row to row of a.</summary>
    [FieldOffset(8)] public long RowBytes;

    /// <summary>The address of each vector of b at i = 0.</summary>
    [FieldOffset(16)] public byte** B;

    /// <summary>Bytes from i to i + 1 of b.</summary>
    [FieldOffset(24)] public long StepBytes;

    /// <summary>How many i.</summary>
    [FieldOffset(32)] public long Count;

    /// <summary>Sums of row 0, the vectors side by side.</summary>
    [FieldOffset(40)] public float* Sums;

    /// <summary>Bytes from row to row of the sums.</summary>
    [FieldOffset(48)] public long SumBytes;

    /// <summary>1 where the sums begin at 0 instead of what they are.</summary>
    [FieldOffset(56)] public long IsFresh;

    /// <summary>As B, of the call that reads what comes next; B itself where there is none.</summary>
    [FieldOffset(64)] public byte** Next;

    /// <summary>Factors on b, as <see cref="ElementScales.First"/>; unused where there are none.</summary>
    [FieldOffset(72)] public float* Scales;
}
