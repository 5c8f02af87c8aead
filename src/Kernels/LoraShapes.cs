namespace TpServe.Kernels;

/// <summary>What the two products of a low-rank adapter demand of their tensors, whatever the backend.</summary>
internal static class LoraShapes
{
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void RequireDown(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total)
    {
        Require.Shape(x, x.Rows, leaves.Columns);
        Require.Shape(a, a.Rows, leaves.Columns);
        Require.Type(pieces, ElementType.Float32);
        Require.That(pieces.Rows == leaves.Pieces * total && pieces.Columns >= a.Rows && first >= 0 && first + rows.Length <= total,
            $"{rows.Length} rows from {first} of {total}, {leaves.Pieces} pieces of {a.Rows} ranks do not fit {pieces}.");
        RequireRows(rows, 0, x.Rows);
    }

    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void RequireUp(Tensor t, ReadOnlyMemory<int> rows, Tensor b, Tensor y)
    {
        Require.Shape(t, rows.Length, b.Rows);
        Require.Shape(b, b.Rows, y.Columns);
        Require.Type(y, ElementType.Float32);
    }

    /// <exception cref="ArgumentException">A row is outside [first, first + count).</exception>
    public static void RequireRows(ReadOnlyMemory<int> rows, int first, int count)
    {
        foreach (int row in rows.Span)
            Require.That(row >= first && row < first + count, $"Row {row} is not among {count} rows from {first}.");
    }
}
