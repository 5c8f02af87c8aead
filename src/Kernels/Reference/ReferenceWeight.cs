using System.Numerics;

namespace TpServe.Kernels.Reference;

/// <summary>A matrix as float32 values, column by column: element (output o, input k of the leaves' range) lies at k · outputs + o.</summary>
internal sealed class ReferenceWeight : PackedWeight
{
    private float[] _columns;

    public ReferenceWeight(WeightRows rows, InputLeaves leaves)
    {
        int first = leaves.Boundaries[0];
        Require.That(
            first >= 0 && leaves.Boundaries[^1] <= rows.FileColumns,
            $"Leaves over columns [{first}, {leaves.Boundaries[^1]}) do not lie in rows of {rows.FileColumns}.");
        Format = rows.Format;
        Outputs = rows.Outputs;
        Leaves = leaves;
        _columns = new float[(long)rows.Outputs * leaves.Columns];
        float[] row = new float[rows.FileColumns];
        for (int output = 0; output < Outputs; output++)
        {
            Dequantize.Row(rows.Format, rows.Row(output), row);
            for (int k = 0; k < leaves.Columns; k++)
                _columns[(long)k * Outputs + output] = row[first + k];
        }
    }

    public override WeightFormat Format { get; }

    public override int Outputs { get; }

    public override InputLeaves Leaves { get; }

    public override long Bytes => (long)_columns.Length * sizeof(float);

    /// <summary>The partial sums of one row of x: piece p at pieces[p · outputs].</summary>
    /// <remarks>Numerics a leaf is float32, ascending k, product and sum rounded each; partial sums are merged as the schedule says.</remarks>
    public void Pieces(ReadOnlySpan<float> x, Span<float> pieces) => Pieces(x, 0, Outputs, pieces);

    /// <summary>The same of some outputs: piece p at pieces[p · count].</summary>
    public void Pieces(ReadOnlySpan<float> x, int first, int count, Span<float> pieces)
    {
        ObjectDisposedException.ThrowIf(_columns.Length == 0 && Outputs > 0, this);
        float[] stack = new float[(Leaves.Count + 1) * count]; // a leaf is pushed before it merges
        int depth = 0, origin = Leaves.Boundaries[0];
        for (int leaf = 0; leaf < Leaves.Count; leaf++)
        {
            Span<float> sum = stack.AsSpan(depth * count, count);
            sum.Clear();
            for (int k = Leaves.Boundaries[leaf] - origin; k < Leaves.Boundaries[leaf + 1] - origin; k++)
                AddMultiple(sum, _columns.AsSpan((k * Outputs) + first, count), x[k]);
            depth++;
            for (int merge = 0; merge < Leaves.Merges[leaf]; merge++, depth--)
                AddMultiple(stack.AsSpan((depth - 2) * count, count), stack.AsSpan((depth - 1) * count, count), 1f);
        }
        stack.AsSpan(0, depth * count).CopyTo(pieces);
    }

    /// <summary>Row <paramref name="output"/>, times scale, plus +0.</summary>
    public void ScaledRow(int output, float scale, Span<float> y)
    {
        for (int k = 0; k < y.Length; k++)
            y[k] = scale * _columns[(long)k * Outputs + output] + 0f;
    }

    protected override void Dispose(bool disposing) => _columns = [];

    /// <summary>sum ← sum + factor · column. Outputs are independent, so doing several at once changes no bit.</summary>
    private static void AddMultiple(Span<float> sum, ReadOnlySpan<float> column, float factor)
    {
        int i = 0;
        for (; i <= sum.Length - Vector<float>.Count; i += Vector<float>.Count)
            (new Vector<float>(sum[i..]) + new Vector<float>(column[i..]) * factor).CopyTo(sum[i..]);
        for (; i < sum.Length; i++)
            sum[i] += column[i] * factor;
    }
}
