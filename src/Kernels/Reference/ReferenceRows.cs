namespace TpServe.Kernels.Reference;

/// <summary>Operations that move or order whole rows.</summary>
internal static unsafe class ReferenceRows
{
    /// <summary>y[i] = x[rows[i]].</summary>
    public static void GatherRows(Tensor x, Tensor rows, Tensor y)
    {
        Require.Shape(rows, y.Rows, 1, ElementType.Int32);
        Require.Shape(y, y.Rows, x.Columns, x.Type);
        for (int i = 0; i < y.Rows; i++)
        {
            int row = rows.HostRow<int>(i)[0];
            Require.That((uint)row < (uint)x.Rows, $"Row {row} is not in x, {x}.");
            CopyRow(x, row, y, i);
        }
    }

    /// <summary>y ← x.</summary>
    public static void Copy(Tensor x, Tensor y)
    {
        Require.Shape(y, x.Rows, x.Columns, x.Type);
        for (int row = 0; row < x.Rows; row++)
            CopyRow(x, row, y, row);
    }

    /// <summary>The k largest of each row by a full stable sort; NaN counts as −∞.</summary>
    public static void TopK(Tensor x, int k, int firstId, Tensor values, Tensor ids)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(values, x.Rows, k);
        Require.Shape(ids, x.Rows, k, ElementType.Int32);
        Require.That(k is > 0 and <= 64, $"k is {k}, the limit is 64.");
        for (int row = 0; row < x.Rows; row++)
        {
            float[] source = x.HostSpan<float>(row).ToArray();
            for (int i = 0; i < source.Length; i++)
                source[i] = float.IsNaN(source[i]) ? float.NegativeInfinity : source[i];
            int[] order = [.. Enumerable.Range(0, source.Length).OrderByDescending(i => source[i])];
            for (int i = 0; i < k; i++)
            {
                values.HostRow<float>(row)[i] = i < order.Length ? source[order[i]] : float.NegativeInfinity;
                ids.HostRow<int>(row)[i] = i < order.Length ? firstId + order[i] : -1;
            }
        }
    }

    private static void CopyRow(Tensor x, int from, Tensor y, int to)
    {
        long bytes = (long)x.Columns * x.Type.SizeBytes();
        Buffer.MemoryCopy(x.HostRow<byte>(from), y.HostRow<byte>(to), bytes, bytes);
    }
}
