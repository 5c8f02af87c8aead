namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Which rows a launch of the tensor-core kernel attends for.</summary>
internal enum TakenRows
{
    /// <summary>All.</summary>
    All,

    /// <summary>Rows whose neighbours belong to other sequences: decode.</summary>
    Alone,

    /// <summary>Rows beside another one of the same sequence: prefill.</summary>
    Accompanied,
}

/// <summary>How one launch of the tensor-core kernel is cut. The cut changes no bit.</summary>
internal struct TensorCut
{
    /// <summary>Most query heads of a group.</summary>
    public const int MostHeads = 8;

    /// <summary>Rows of a group.</summary>
    public int Rows;

    /// <summary>Tiles of 8 columns: rows · heads of a group fit them.</summary>
    public int Tiles;

    /// <summary>Pieces that the query heads are cut into: neighbours that share a KV head, at most <see cref="MostHeads"/> of them.</summary>
    public int Pieces;

    /// <summary>Which rows.</summary>
    public TakenRows Takes;
}
