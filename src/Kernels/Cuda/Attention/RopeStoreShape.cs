namespace TpServe.Kernels.Cuda.Attention;

/// <summary>How the work of one row is counted in the fused rotary and store kernel: pairs of q, then pairs and single elements of k, then elements of v.</summary>
internal readonly struct RopeStoreShape
{
    /// <summary>The items of tensors whose heads have a number of rotated pairs.</summary>
    public RopeStoreShape(Tensor q, Tensor k, Tensor v, int headDim, int kvHeads, int half)
    {
        Rows = k.Rows;
        StrideQ = q.RowStride;
        StrideK = k.RowStride;
        StrideV = v.RowStride;
        Half = half;
        QueryItems = q.Columns / headDim * half;
        ItemsOfKey = headDim - half;
        KeyItems = kvHeads * ItemsOfKey;
        Items = QueryItems + KeyItems + k.Columns;
    }

    /// <summary>Tokens.</summary>
    public readonly int Rows;

    /// <summary>Elements from a row of q to the next.</summary>
    public readonly int StrideQ;

    /// <summary>Elements from a row of k to the next.</summary>
    public readonly int StrideK;

    /// <summary>Elements from a row of v to the next.</summary>
    public readonly int StrideV;

    /// <summary>Pairs of a head.</summary>
    public readonly int Half;

    /// <summary>Items of a row of q.</summary>
    public readonly int QueryItems;

    /// <summary>Items of one head of k.</summary>
    public readonly int ItemsOfKey;

    /// <summary>Items of a row of k.</summary>
    public readonly int KeyItems;

    /// <summary>Items of a row.</summary>
    public readonly int Items;
}
