using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>The frame of a panel kernel: leaves, blocks, prefetch, merge stack, results. A subclass emits what one block does.</summary>
/// <remarks>
/// Registers rdi PanelCall, rsi activations, rdx unit, rbx block inside the unit, rcx LeafEntry, r8 leaves left, r9 blocks left in the leaf,
///           r10 next panel, r11 top of the merge stack, r12 decoded scales of the block, r13 blocks left in the unit, r14 block number, rax free.
/// </remarks>
internal abstract class PanelEmitter(int rows)
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

    /// <summary>The code being written.</summary>
    protected Assembler Code { get; } = new(64);

    /// <summary>Activation rows of this kernel.</summary>
    protected int Rows { get; } = rows;

    /// <summary>Vectors of 16 outputs in a panel.</summary>
    protected abstract int Vectors { get; }

    /// <summary>Bytes of a row's inputs, scales and corrections in a block of the activation tile.</summary>
    protected abstract int RowBytes { get; }

    /// <summary>Bytes from unit to unit.</summary>
    protected abstract int UnitBytes { get; }

    /// <summary>Blocks in a unit; with more than one, rbx, r12 and r13 are kept.</summary>
    protected abstract int BlocksPerUnit { get; }

    /// <summary>Bytes before a unit's first block.</summary>
    protected virtual int HeaderBytes => 0;

    /// <summary>Bytes from block to block inside a unit.</summary>
    protected virtual int BlockBytes => 0;

    /// <summary>Writes the whole function.</summary>
    public void Emit(CodeWriter writer)
    {
        Assembler c = Code;
        Label leaf = c.CreateLabel(), unit = c.CreateLabel(), block = c.CreateLabel(), ended = c.CreateLabel(), merge = c.CreateLabel();
        Label merged = c.CreateLabel(), last = c.CreateLabel(), output = c.CreateLabel(), leave = c.CreateLabel();
        int tileBytes = Rows * Vectors * 64;
        bool superBlocks = BlocksPerUnit > 1;

        if (superBlocks)
        {
            c.push(rbx);
            c.push(r12);
            c.push(r13);
            c.push(r14);
        }
        c.mov(rsi, __qword_ptr[rdi + ActivationsAt]);
        c.mov(rcx, __qword_ptr[rdi + LeavesAt]);
        c.mov(r8, __qword_ptr[rdi + LeafCountAt]);
        c.mov(r10, __qword_ptr[rdi + NextAt]);
        c.mov(r11, __qword_ptr[rdi + StackAt]);
        EmitConstants();

        // 1. A leaf: find its first block, clear the sums.
        c.Label(ref leaf);
        c.mov(rdx, __qword_ptr[rdi + PanelAt]);
        c.add(rdx, __qword_ptr[rcx + Field(nameof(LeafEntry.UnitOffset))]);
        c.mov(r9d, __dword_ptr[rcx + Field(nameof(LeafEntry.Blocks))]);
        for (int row = 0; row < Rows; row++)
            for (int vector = 0; vector < Vectors; vector++)
                c.vpxord(Sum(row, vector), Sum(row, vector), Sum(row, vector));
        if (superBlocks)
        {
            c.mov(r14d, __dword_ptr[rcx + Field(nameof(LeafEntry.FirstBlock))]);
            c.Label(ref unit);
            c.mov(r12, __qword_ptr[rdi + ScratchAt]);
            EmitUnitStart();
            c.mov(r13d, BlocksPerUnit);
            c.sub(r13d, r14d);
            c.imul(rbx, r14, BlockBytes);
            c.lea(rbx, __[rbx + rdx + HeaderBytes]);
            c.shl(r14d, 5);
            c.add(r12, r14);
        }

        // 2. Its blocks.
        c.Label(ref block);
        EmitPrefetch();
        EmitBlock();
        c.add(rsi, Rows * RowBytes);
        if (superBlocks)
        {
            c.add(rbx, BlockBytes);
            c.add(r12, 32);
            c.dec(r9);
            c.jz(ended);
            c.dec(r13);
            c.jnz(block);
            c.xor(r14d, r14d);
            c.add(rdx, UnitBytes);
            c.jmp(unit);
        }
        else
        {
            c.add(rdx, UnitBytes);
            c.dec(r9);
            c.jnz(block);
        }

        // 3. Merges with what lies on the stack: lower + upper.
        c.Label(ref ended);
        c.mov(eax, __dword_ptr[rcx + Field(nameof(LeafEntry.Merges))]);
        c.test(eax, eax);
        c.jz(merged);
        c.Label(ref merge);
        c.sub(r11, tileBytes);
        ForEachSum((sum, at) => c.vaddps(sum, sum, __zmmword_ptr[r11 + at]));
        c.dec(eax);
        c.jnz(merge);

        // 4. To the stack, or after the last leaf of a single piece to the output.
        c.Label(ref merged);
        c.add(rcx, LeafEntry.Size);
        c.dec(r8);
        c.jz(last);
        ForEachSum((sum, at) => c.vmovups(__zmmword_ptr[r11 + at], sum));
        c.add(r11, tileBytes);
        c.jmp(leaf);
        c.Label(ref last);
        c.cmp(__qword_ptr[rdi + PiecesAt], 1);
        c.je(output);
        ForEachSum((sum, at) => c.vmovups(__zmmword_ptr[r11 + at], sum));
        c.jmp(leave);
        c.Label(ref output);
        c.mov(rax, __qword_ptr[rdi + OutputAt]);
        c.mov(r9, __qword_ptr[rdi + OutputStrideAt]);
        for (int row = 0; row < Rows; row++)
        {
            for (int vector = 0; vector < Vectors; vector++)
                c.vmovups(__zmmword_ptr[rax + (64 * vector)], Sum(row, vector));
            c.add(rax, r9);
        }
        c.Label(ref leave);
        c.vzeroupper();
        if (superBlocks)
        {
            c.pop(r14);
            c.pop(r13);
            c.pop(r12);
            c.pop(rbx);
        }
        c.ret();
        EmitData();
        c.Assemble(writer, 0);
    }

    /// <summary>The accumulator of a row and a vector of outputs.</summary>
    protected abstract AssemblerRegisterZMM Sum(int row, int vector);

    /// <summary>Fills registers that stay the same throughout.</summary>
    protected abstract void EmitConstants();

    /// <summary>Decodes a unit's scales to [r12]; may use any vector register but sums and constants.</summary>
    protected virtual void EmitUnitStart()
    {
    }

    /// <summary>Adds one block's products to the sums.</summary>
    protected abstract void EmitBlock();

    /// <summary>Constants behind the function's last instruction.</summary>
    protected virtual void EmitData()
    {
    }

    /// <summary>Vector register by number.</summary>
    protected static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);

    private static int Offset(string field) => (int)Marshal.OffsetOf<PanelCall>(field);

    private static int Field(string field) => (int)Marshal.OffsetOf<LeafEntry>(field);

    private void EmitPrefetch()
    {
        Assembler c = Code;
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
    }

    private void ForEachSum(Action<AssemblerRegisterZMM, int> emit)
    {
        for (int row = 0; row < Rows; row++)
            for (int vector = 0; vector < Vectors; vector++)
                emit(Sum(row, vector), ((row * Vectors) + vector) * 64);
    }
}
