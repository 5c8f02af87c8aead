using ILGPU;

namespace TpServe.Kernels.Cuda.Attention;

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

    /// <summary>The last position that all rows see, if any; −1 where a row sees nothing.</summary>
    public int MinLast;

    /// <summary>The last position that any row sees.</summary>
    public int MaxLast;

    /// <summary>True where a column is one of this pass.</summary>
    public static bool Has(TensorPass pass, int column)
    {
        int row = pass.FirstRow + column / pass.Heads;
        return row >= pass.Row && row < pass.End;
    }

    /// <summary>True where some rows see some of these positions that others do not.</summary>
    public static bool IsMixed(TensorPass pass, int position, int count) =>
        (pass.MinFirst != pass.MaxFirst || pass.MinLast != pass.MaxLast) && (position < pass.MaxFirst || position + count - 1 > pass.MinLast);

    /// <summary>Which square of the cache, counted in whole squares, is the first of 16 positions; −1 where no row sees any of them.</summary>
    public static int SquareOf(TensorPass pass, int position, KvView cache, ArrayView<int> tables, AttentionNumbers numbers)
    {
        if (position > pass.MaxLast || position + KvView.Square - 1 < pass.MinFirst)
            return -1;
        int logical = position / cache.BlockTokens, block = tables[pass.Sequence * numbers.TableStride + logical];
        if ((uint)block >= (uint)cache.Blocks)
            return -1;
        int ofDimensions = cache.HeadDim / KvView.Square, ofPositions = cache.BlockTokens / KvView.Square;
        return ((block * cache.Heads + pass.KvHead) * ofPositions + (position - logical * cache.BlockTokens) / KvView.Square) * ofDimensions;
    }
}
