using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>The rows of one sequence that a group attends for together, and what they see.</summary>
internal struct TensorPass
{
    /// <summary>First row of the group; column c is row <c>FirstRow + c / Heads</c>.</summary>
    public int FirstRow;

    /// <summary>First row of the pass.</summary>
    public int Row;

    /// <summary>Behind the last row of the pass.</summary>
    public int End;

    /// <summary>Row of the block tables.</summary>
    public int Sequence;

    /// <summary>First query head.</summary>
    public int FirstHead;

    /// <summary>Query heads.</summary>
    public int Heads;

    /// <summary>Their KV head.</summary>
    public int KvHead;

    /// <summary>The first position that any row sees.</summary>
    public int MinFirst;

    /// <summary>The first position that all rows see, if any.</summary>
    public int MaxFirst;

    /// <summary>The last position that all rows see, if any.</summary>
    public int MinLast;

    /// <summary>The last position that any row sees.</summary>
    public int MaxLast;

    /// <summary>True where a column is one of this pass.</summary>
    public static bool Has(TensorPass pass, int column)
    {
        int row = pass.FirstRow + column / pass.Heads;
        return row >= pass.Row && row < pass.End;
    }

    /// <summary>Where 16 positions lie, in operands of 16 bytes behind the start of keys or values; −1 where no row sees any of them.</summary>
    public static long SquareRow(TensorPass pass, int position, KvView cache, ArrayView<int> tables, AttentionNumbers numbers)
    {
        if (position > pass.MaxLast || position + KvView.Square - 1 < pass.MinFirst)
            return -1;
        int block = tables[pass.Sequence * numbers.TableStride + position / cache.BlockTokens];
        if ((uint)block >= (uint)cache.Blocks)
            return -1;
        return (KvView.TileStart(cache, block, pass.KvHead) + position % cache.BlockTokens * cache.HeadDim) / 8;
    }
}
