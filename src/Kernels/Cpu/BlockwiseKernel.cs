using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>A panel kernel in C#: walks leaves and blocks and merges the leaves' sums; what a block adds is its heir's.</summary>
/// <remarks>Numerics a merge is lower + upper per output, in the order of the leaf table.</remarks>
internal abstract unsafe class BlockwiseKernel(PanelFormat format, ActivationKind kind, TileShape shape, CorrectionKind correction) : PanelKernel(shape, correction)
{
    /// <summary>The weights' format.</summary>
    protected PanelFormat Format => format;

    /// <summary>The type of the activations.</summary>
    protected ActivationKind Kind => kind;

    /// <inheritdoc/>
    public sealed override void Run(int rows, int groups, PanelCall* call)
    {
        int outputs = format.PanelOutputs, tile = rows * groups * outputs, perUnit = format.BlocksPerUnit;
        long blockBytes = (long)Layout(format, kind).RowBytes * rows * groups;
        byte* a = call->Activations;
        float* acc = call->Stack;
        for (long leaf = 0; leaf < call->LeafCount; leaf++)
        {
            LeafEntry entry = call->Leaves[leaf];
            byte* unit = call->Panel + entry.UnitOffset;
            int block = entry.FirstBlock;
            new Span<float>(acc, tile).Clear();
            for (int i = 0; i < entry.Blocks; i++, a += blockBytes)
            {
                if (i == 0 || block == 0)
                    BeginUnit(unit, call->Scratch);
                Accumulate(unit, block, a, rows, groups, acc, call->Scratch);
                if (++block == perUnit)
                {
                    block = 0;
                    unit += format.UnitBytes;
                }
            }
            for (int merge = 0; merge < entry.Merges; merge++, acc -= tile)
                Merge(acc - tile, acc, tile);
            acc += tile;
        }
        if (call->Pieces != 1)
            return;
        for (int row = 0; row < rows * groups; row++)
            new ReadOnlySpan<float>(call->Stack + (row * outputs), outputs).CopyTo(new Span<float>((byte*)call->Output + (row * call->OutputStride), outputs));
    }

    /// <summary>Called before the first visited block of a unit.</summary>
    protected virtual void BeginUnit(byte* unit, byte* scratch)
    {
    }

    /// <summary>Adds one block: acc [groups · rows, outputs] += activations [groups · rows, 32] · weights.</summary>
    protected abstract void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch);

    /// <summary>The first byte of a block's codes.</summary>
    protected byte* Codes(byte* unit, int block) => unit + format.HeaderBytes + (block * format.BlockBytes) + format.BlockScaleBytes;

    // Outputs of a panel are a multiple of 16.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Merge(float* lower, float* upper, int count)
    {
        for (int i = 0; i < count; i += 4)
            (Vector128.Load(lower + i) + Vector128.Load(upper + i)).Store(lower + i);
    }
}
