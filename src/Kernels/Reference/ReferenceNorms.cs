namespace TpServe.Kernels.Reference;

/// <summary>Norms in float64, rounded to float32 once at the end.</summary>
internal static unsafe class ReferenceNorms
{
    /// <summary>y = x / sqrt(mean(x²) + ε) · w for each group of weight.Columns values.</summary>
    public static void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y)
    {
        int dim = weight.Columns;
        Require.Shape(weight, 1, dim);
        Require.Groups(x, dim);
        Require.Shape(x, x.Rows, x.Columns);
        Require.Shape(y, x.Rows, x.Columns);
        float* w = weight.HostRow<float>(0);
        for (int row = 0; row < x.Rows; row++)
        {
            for (int group = 0; group < x.Columns; group += dim)
            {
                float* source = x.HostRow<float>(row) + group;
                float* target = y.HostRow<float>(row) + group;
                double root = Math.Sqrt(SquareSum(source, dim) / dim + epsilon);
                for (int i = 0; i < dim; i++)
                    target[i] = (float)(source[i] / root * w[i]);
            }
        }
    }

    /// <summary>y = (x − mean) / sqrt(variance + ε) · w + b for each row.</summary>
    public static void LayerNorm(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y)
    {
        int dim = x.Columns;
        Require.Shape(x, x.Rows, dim);
        Require.Shape(weight, 1, dim);
        if (bias is { } given)
            Require.Shape(given, 1, dim);
        Require.Shape(y, x.Rows, dim);
        float* w = weight.HostRow<float>(0);
        float* b = bias is { } vector ? vector.HostRow<float>(0) : null;
        for (int row = 0; row < x.Rows; row++)
        {
            float* source = x.HostRow<float>(row);
            float* target = y.HostRow<float>(row);
            double mean = 0, squares = 0;
            for (int i = 0; i < dim; i++)
                mean += source[i];
            mean /= dim;
            for (int i = 0; i < dim; i++)
                squares += (source[i] - mean) * (source[i] - mean);
            double root = Math.Sqrt(squares / dim + epsilon);
            for (int i = 0; i < dim; i++)
                target[i] = (float)((source[i] - mean) / root * w[i] + (b is null ? 0 : b[i]));
        }
    }

    /// <summary>sums[r, g] = Σ x² over each group of dim values.</summary>
    public static void SumSquares(Tensor x, int dim, Tensor sums)
    {
        Require.Groups(x, dim);
        Require.Shape(x, x.Rows, x.Columns);
        Require.Shape(sums, x.Rows, x.Columns / dim);
        for (int row = 0; row < x.Rows; row++)
            for (int group = 0; group < sums.Columns; group++)
                sums.HostRow<float>(row)[group] = (float)SquareSum(x.HostRow<float>(row) + group * dim, dim);
    }

    /// <summary>x ← x / sqrt(Σ_g sums[r, g] / totalColumns + ε) · w.</summary>
    public static void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon)
    {
        Require.Shape(x, x.Rows, x.Columns);
        Require.Shape(sums, x.Rows, sums.Columns);
        Require.Shape(weight, 1, x.Columns);
        Require.That(sums.Columns > 0 && totalColumns >= x.Columns, $"{sums.Columns} sums over {totalColumns} columns cannot norm {x}.");
        float* w = weight.HostRow<float>(0);
        for (int row = 0; row < x.Rows; row++)
        {
            float* values = x.HostRow<float>(row);
            double root = Math.Sqrt((double)TreeSum(sums.HostSpan<float>(row)) / totalColumns + epsilon);
            for (int i = 0; i < x.Columns; i++)
                values[i] = (float)(values[i] / root * w[i]);
        }
    }

    /// <summary>The canonical balanced tree, in float32 as ranks exchange it: halves, the larger one left.</summary>
    internal static float TreeSum(ReadOnlySpan<float> leaves)
    {
        if (leaves.Length == 1)
            return leaves[0];
        int left = (leaves.Length + 1) / 2;
        return TreeSum(leaves[..left]) + TreeSum(leaves[left..]);
    }

    private static double SquareSum(float* values, int count)
    {
        double sum = 0;
        for (int i = 0; i < count; i++)
            sum += (double)values[i] * values[i];
        return sum;
    }
}
