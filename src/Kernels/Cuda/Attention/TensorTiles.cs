using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>A lane's part of up to four tiles of 8 columns: what one warp has of 16 keys' scores, or of 16 elements of the weighted values.</summary>
/// <remarks>Four fields and no array, so that all of it stays in registers.</remarks>
internal struct TensorTiles
{
    /// <summary>Columns 0 to 7.</summary>
    public Float4 T0;

    /// <summary>Columns 8 to 15.</summary>
    public Float4 T1;

    /// <summary>Columns 16 to 23.</summary>
    public Float4 T2;

    /// <summary>Columns 24 to 31.</summary>
    public Float4 T3;
}

/// <summary>Two numbers of each of up to four tiles: one for each of the columns that a lane has a part of.</summary>
internal struct ColumnPairs
{
    /// <summary>Columns 2t and 2t + 1.</summary>
    public ColumnPair T0;

    /// <summary>Columns 8 + 2t and 9 + 2t.</summary>
    public ColumnPair T1;

    /// <summary>Columns 16 + 2t and 17 + 2t.</summary>
    public ColumnPair T2;

    /// <summary>Columns 24 + 2t and 25 + 2t.</summary>
    public ColumnPair T3;
}

/// <summary>A running softmax of two columns.</summary>
internal struct ColumnPair
{
    /// <summary>Maximum of the even column.</summary>
    public float EvenMax;

    /// <summary>Maximum of the odd column.</summary>
    public float OddMax;

    /// <summary>Sum of the even column.</summary>
    public float EvenSum;

    /// <summary>Sum of the odd column.</summary>
    public float OddSum;
}

/// <summary>A number of each of two columns.</summary>
internal struct FloatPair
{
    /// <summary>Of the even column.</summary>
    public float Even;

    /// <summary>Of the odd column.</summary>
    public float Odd;
}

/// <summary>One tile merged so far: weighted values, and maxima and sums of the lane's two columns.</summary>
internal struct MergedTile
{
    /// <summary>Weighted values.</summary>
    public Float4 Values;

    /// <summary>Maxima and sums.</summary>
    public ColumnPair Columns;
}
