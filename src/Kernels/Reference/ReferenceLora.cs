namespace TpServe.Kernels.Reference;

/// <summary>The two products of a low-rank adapter as plain loops: a leaf and an output in float64, rounded once.</summary>
internal static class ReferenceLora
{
    /// <summary>As <see cref="ITensorBackend.LoraDown"/>.</summary>
    public static void Down(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total)
    {
        LoraShapes.RequireDown(x, rows, a, leaves, pieces, first, total);
        Stack<float> sums = new();
        for (int index = 0; index < rows.Length; index++)
        {
            for (int rank = 0; rank < a.Rows; rank++)
            {
                for (int leaf = 0; leaf < leaves.Count; leaf++)
                {
                    double sum = 0;
                    for (int i = leaves.Boundaries[leaf] - leaves.Boundaries[0]; i < leaves.Boundaries[leaf + 1] - leaves.Boundaries[0]; i++)
                        sum += (double)x.HostSpan<float>(rows.Span[index])[i] * a.HostSpan<float>(rank)[i];
                    sums.Push((float)sum);
                    for (int merge = leaves.Merges[leaf]; merge > 0; merge--)
                    {
                        float upper = sums.Pop();
                        sums.Push(sums.Pop() + upper);
                    }
                }
                for (int piece = leaves.Pieces - 1; piece >= 0; piece--)
                    pieces.HostSpan<float>((piece * total) + first + index)[rank] = sums.Pop();
            }
            for (int piece = 0; piece < leaves.Pieces; piece++)
                pieces.HostSpan<float>((piece * total) + first + index)[a.Rows..].Clear();
        }
    }

    /// <summary>As <see cref="ITensorBackend.LoraUp"/>.</summary>
    public static void Up(Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y)
    {
        LoraShapes.RequireUp(t, rows, b, y);
        LoraShapes.RequireRows(rows, firstRow, y.Rows);
        for (int index = 0; index < rows.Length; index++)
        {
            Span<float> target = y.HostSpan<float>(rows.Span[index] - firstRow);
            for (int column = 0; column < target.Length; column++)
            {
                double sum = 0;
                for (int rank = 0; rank < b.Rows; rank++)
                    sum += (double)b.HostSpan<float>(rank)[column] * (scale * t.HostSpan<float>(index)[rank]);
                target[column] += (float)sum;
            }
        }
    }
}
