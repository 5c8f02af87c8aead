using System.Runtime.InteropServices;
using Iced.Intel;
using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;
using static TpServe.Kernels.Cpu.Emit.VectorAssembler;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>The frame of a panel kernel: leaves, blocks, prefetch, merge stack, results. A subclass emits what one block does.</summary>
/// <remarks>
/// Where sums live: the wide families have a register for each; in the narrow ones they are the top of the merge stack, and a block loads and
/// stores each once: no register, and one fused multiply-add with a memory operand.
/// Registers rdi PanelCall, rsi activations, rdx unit, rbx block inside the unit, rcx LeafEntry, r8 leaves left, r9 blocks left in the leaf,
///           r10 next panel, r11 top of the merge stack, r12 decoded scales of the block, r13 blocks left in the unit, r14 block number,
///           r15 scratch, rbp sums of the rows at work, rax free.
/// </remarks>
internal abstract class PanelEmitter
{
    private static readonly int PanelAt = Offset(nameof(PanelCall.Panel));
    private static readonly int ActivationsAt = Offset(nameof(PanelCall.Activations));
    private static readonly int OutputAt = Offset(nameof(PanelCall.Output));
    private static readonly int OutputStrideAt = Offset(nameof(PanelCall.OutputStride));
    private static readonly int LeavesAt = Offset(nameof(PanelCall.Leaves));
    private static readonly int LeafCountAt = Offset(nameof(PanelCall.LeafCount));
    private static readonly int PiecesAt = Offset(nameof(PanelCall.Pieces));
    private static readonly int StackAt = Offset(nameof(PanelCall.Stack));
    private static readonly int ScratchAt = Offset(nameof(PanelCall.Scratch));
    private static readonly int NextAt = Offset(nameof(PanelCall.Next));
    private static readonly int LinesAt = Offset(nameof(PanelCall.LinesPerBlock));
    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    /// <summary>A kernel of <paramref name="groups"/> × <paramref name="rows"/> rows.</summary>
    protected PanelEmitter(InstructionFamily family, PanelFormat format, int rows, int groups)
    {
        Vector = new VectorAssembler(family);
        Format = format;
        Rows = rows;
        Groups = groups;
        Vectors = format.PanelOutputs / family.Lanes;
    }

    /// <summary>What the kernel wants in the activations for the offset of symmetric codes.</summary>
    public virtual CorrectionKind Correction => CorrectionKind.None;

    /// <summary>The code being written.</summary>
    protected VectorAssembler Vector { get; }

    /// <summary>The panel.</summary>
    protected PanelFormat Format { get; }

    /// <summary>Activation rows of a group: those whose sums are at work together.</summary>
    protected int Rows { get; }

    /// <summary>Groups of a tile; with several, what is decoded of a block is used by all.</summary>
    protected int Groups { get; }

    /// <summary>Vectors of a panel's outputs.</summary>
    protected int Vectors { get; }

    /// <summary>Bytes of a row's inputs, scales and corrections in a block of the activation tile.</summary>
    protected abstract int RowBytes { get; }

    /// <summary>Bytes of a row's outputs on the merge stack.</summary>
    protected int RowSumBytes => Vectors * Vector.Family.VectorBytes;

    /// <summary>First of three vector registers that are free at a unit's start.</summary>
    protected abstract int UnitTemporaries { get; }

    /// <summary>True where products are taken with subnormals as zeros, merges never.</summary>
    protected virtual bool FlushesSubnormals => false;

    private bool SumsInRegisters => Vector.Family.IsWide;

    private int TileBytes => Groups * Rows * RowSumBytes;

    /// <summary>Writes the whole function and returns the offset of its entry.</summary>
    public int Emit(CodeWriter writer)
    {
        Assembler c = Vector.Code;
        Label leaf = c.CreateLabel(), unit = c.CreateLabel(), block = c.CreateLabel(), ended = c.CreateLabel(), merge = c.CreateLabel();
        Label merged = c.CreateLabel(), last = c.CreateLabel(), output = c.CreateLabel(), leave = c.CreateLabel();
        bool superBlocks = Format.BlocksPerUnit > 1;

        ReserveConstants();
        foreach (AssemblerRegister64 register in Saved)
            c.push(register);
        c.mov(rsi, __qword_ptr[rdi + ActivationsAt]);
        c.mov(rcx, __qword_ptr[rdi + LeavesAt]);
        c.mov(r8, __qword_ptr[rdi + LeafCountAt]);
        c.mov(r10, __qword_ptr[rdi + NextAt]);
        c.mov(r11, __qword_ptr[rdi + StackAt]);
        c.mov(r15, __qword_ptr[rdi + ScratchAt]);
        PinConstants();
        if (FlushesSubnormals)
            PrepareControlWords();

        // 1. A leaf: find its first block, clear the sums.
        c.Label(ref leaf);
        c.mov(rdx, __qword_ptr[rdi + PanelAt]);
        c.add(rdx, __qword_ptr[rcx + Field(nameof(LeafEntry.UnitOffset))]);
        c.mov(r9d, __dword_ptr[rcx + Field(nameof(LeafEntry.Blocks))]);
        ClearSums();
        if (FlushesSubnormals)
            c.vldmxcsr(__dword_ptr[r15 + KernelScratch.FlushingControl]);
        if (superBlocks)
        {
            c.mov(r14d, __dword_ptr[rcx + Field(nameof(LeafEntry.FirstBlock))]);
            c.Label(ref unit);
            c.mov(r12, r15);
            EmitUnitStart(UnitTemporaries);
            c.mov(r13d, Format.BlocksPerUnit);
            c.sub(r13d, r14d);
            c.imul(rbx, r14, Format.BlockBytes);
            c.lea(rbx, __[rbx + rdx + Format.HeaderBytes]);
            c.shl(r14d, 5);
            c.add(r12, r14);
        }

        // 2. Its blocks.
        c.Label(ref block);
        EmitPrefetch();
        EmitBlock();
        c.add(rsi, Rows * RowBytes); // the other groups' rows have been passed inside the block
        if (superBlocks)
        {
            c.add(rbx, Format.BlockBytes);
            c.add(r12, 32);
            c.dec(r9);
            c.jz(ended);
            c.dec(r13);
            c.jnz(block);
            c.xor(r14d, r14d);
            c.add(rdx, Format.UnitBytes);
            c.jmp(unit);
        }
        else
        {
            c.add(rdx, Format.UnitBytes);
            c.dec(r9);
            c.jnz(block);
        }

        // 3. Merges with what lies on the stack: lower + upper.
        c.Label(ref ended);
        if (FlushesSubnormals)
            c.vldmxcsr(__dword_ptr[r15 + KernelScratch.CallersControl]);
        c.mov(eax, __dword_ptr[rcx + Field(nameof(LeafEntry.Merges))]);
        c.test(eax, eax);
        c.jz(merged);
        c.Label(ref merge);
        Merge();
        c.dec(eax);
        c.jnz(merge);

        // 4. To the stack, or after the last leaf of a single piece to the output.
        c.Label(ref merged);
        c.add(rcx, LeafEntry.Size);
        c.dec(r8);
        c.jz(last);
        PushSums();
        c.add(r11, TileBytes);
        c.jmp(leaf);
        c.Label(ref last);
        c.cmp(__qword_ptr[rdi + PiecesAt], 1);
        c.je(output);
        PushSums();
        c.jmp(leave);
        c.Label(ref output);
        c.mov(rax, __qword_ptr[rdi + OutputAt]);
        c.mov(r9, __qword_ptr[rdi + OutputStrideAt]);
        StoreOutputs();
        c.Label(ref leave);
        c.vzeroupper();
        foreach (AssemblerRegister64 register in Saved.Reverse())
            c.pop(register);
        c.ret();
        c.Assemble(writer, 0);
        return Vector.ReservedBytes;
    }

    /// <summary>The register of a row's sum in the wide families.</summary>
    protected abstract int Sum(int row, int part);

    /// <summary>Reserves the constants that the block uses.</summary>
    protected virtual void ReserveConstants()
    {
    }

    /// <summary>Fills registers that stay the same throughout.</summary>
    protected virtual void PinConstants()
    {
    }

    /// <summary>Decodes a unit's scales to [r12].</summary>
    protected virtual void EmitUnitStart(int temporaries)
    {
    }

    /// <summary>Adds one block's products to the sums of all groups; leaves rsi at the last group's rows.</summary>
    protected abstract void EmitBlock();

    /// <summary>Emits what is done for a group of rows, once for all: rsi at the group's activations, rbp at its sums in the narrow families.</summary>
    protected void ForEachGroup(Action emitGroup)
    {
        Assembler c = Vector.Code;
        if (!SumsInRegisters)
            c.mov(rbp, r11);
        if (Groups == 1)
        {
            emitGroup();
            return;
        }
        Label group = c.CreateLabel(), done = c.CreateLabel();
        c.lea(rax, __[r11 + TileBytes]);
        c.Label(ref group);
        emitGroup();
        c.add(rbp, Rows * RowSumBytes);
        c.cmp(rbp, rax);
        c.je(done);
        c.add(rsi, Rows * RowBytes);
        c.jmp(group);
        c.Label(ref done);
    }

    /// <summary>The row's sum plus sum · (scale · its own scale at <paramref name="scaleAt"/> from rsi); the register it is in, which the narrow families store.</summary>
    protected int AddScaled(int row, int vector, int sum, int scale, int scaleAt, int factor)
    {
        Vector.OpBroadcast(VectorOp.Multiply, factor, scale, rsi, scaleAt, factor);
        if (SumsInRegisters)
        {
            Vector.Op(VectorOp.MultiplyAdd231, Sum(row, vector), sum, factor);
            return Sum(row, vector);
        }
        Vector.Op(VectorOp.MultiplyAdd213, sum, factor, Accumulator(row, vector));
        return sum;
    }

    /// <summary>Where the narrow families keep a row's sum.</summary>
    protected MemoryOperand Accumulator(int row, int vector) => At(rbp, (RowSumBytes * row) + (Vector.Family.VectorBytes * vector));

    private static int Offset(string field) => (int)Marshal.OffsetOf<PanelCall>(field);

    private static int Field(string field) => (int)Marshal.OffsetOf<LeafEntry>(field);

    private void PrepareControlWords()
    {
        const int denormalsAreZero = 1 << 6, flushToZero = 1 << 15;
        Assembler c = Vector.Code;
        c.vstmxcsr(__dword_ptr[r15 + KernelScratch.CallersControl]);
        c.mov(eax, __dword_ptr[r15 + KernelScratch.CallersControl]);
        c.or(eax, denormalsAreZero | flushToZero);
        c.mov(__dword_ptr[r15 + KernelScratch.FlushingControl], eax);
    }

    private void EmitPrefetch()
    {
        Assembler c = Vector.Code;
        Label line = c.CreateLabel(), done = c.CreateLabel();
        c.mov(rax, __qword_ptr[rdi + LinesAt]);
        c.test(rax, rax);
        c.jz(done);
        c.Label(ref line);
        c.prefetcht1(__byte_ptr[r10]);
        c.add(r10, 64);
        c.dec(rax);
        c.jnz(line);
        c.Label(ref done);
        int ahead = Vector.Family.OneRowPrefetchBytes;
        if (Rows * Groups > 1 || ahead == 0)
            return;
        (AssemblerRegister64 at, int bytes) = Format.BlocksPerUnit > 1 ? (rbx, Format.BlockBytes) : (rdx, Format.UnitBytes);
        for (int i = 0; i < bytes; i += 64)
            c.prefetcht0(__byte_ptr[at + (ahead + i)]);
    }

    private void ClearSums()
    {
        if (!SumsInRegisters)
            Vector.Clear(UnitTemporaries);
        ForEachSum((sum, at) =>
        {
            if (SumsInRegisters)
                Vector.Clear(sum);
            else
                Vector.Store(At(r11, at), UnitTemporaries);
        });
    }

    private void Merge()
    {
        if (SumsInRegisters)
        {
            Vector.Code.sub(r11, TileBytes);
            ForEachSum((sum, at) => Vector.Op(VectorOp.Add, sum, sum, At(r11, at)));
            return;
        }
        ForEachSum((_, at) =>
        {
            Vector.Load(UnitTemporaries, At(r11, at - TileBytes));
            Vector.Op(VectorOp.Add, UnitTemporaries, UnitTemporaries, At(r11, at));
            Vector.Store(At(r11, at - TileBytes), UnitTemporaries);
        });
        Vector.Code.sub(r11, TileBytes);
    }

    private void PushSums()
    {
        if (SumsInRegisters)
            ForEachSum((sum, at) => Vector.Store(At(r11, at), sum));
    }

    private void StoreOutputs()
    {
        int width = Vector.Family.VectorBytes;
        for (int row = 0; row < Rows * Groups; row++)
        {
            for (int part = 0; part < Vectors; part++)
            {
                int source = SumsInRegisters ? Sum(row, part) : UnitTemporaries;
                if (!SumsInRegisters)
                    Vector.Load(source, At(r11, (row * RowSumBytes) + (part * width)));
                Vector.Store(At(rax, part * width), source);
            }
            Vector.Code.add(rax, r9);
        }
    }

    private void ForEachSum(Action<int, int> emit)
    {
        for (int row = 0; row < Rows * Groups; row++)
            for (int part = 0; part < Vectors; part++)
                emit(SumsInRegisters ? Sum(row, part) : -1, (row * RowSumBytes) + (part * Vector.Family.VectorBytes));
    }
}

/// <summary>Where emitted code keeps what it decodes, in bytes from PanelCall.Scratch.</summary>
internal static class KernelScratch
{
    /// <summary>256 six-bit scales of a unit.</summary>
    public const int SixBitScales = 0;

    /// <summary>The caller's MXCSR.</summary>
    public const int CallersControl = 256;

    /// <summary>The same with subnormals flushed.</summary>
    public const int FlushingControl = 260;

    /// <summary>Codes of a block that several groups use: 8 × 64 bytes.</summary>
    public const int Codes = 512;

    /// <summary>Its scales and minima: 4 × 16 floats.</summary>
    public const int Scales = 1024;

    /// <summary>What the first part of a block has given a group's rows: 6 × 16 floats or integers.</summary>
    public const int Partials = 1280;

    /// <summary>A block's weights as float32: 32 × 16.</summary>
    public const int Values = 2048;

    /// <summary>All of it.</summary>
    public const int Bytes = 4096;
}
