using TpServe.Kernels.Reference;
using TpServe.Kernels.Tests.Cpu;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Products in float64 of exact weights and activations quantised by blocks of 32 inside leaves: the oracle of the integer kernels.</summary>
internal static class QuantisedProducts
{
    /// <summary>float32 sums of exact block products: 1e-14 to 1e-13 measured.</summary>
    public const double Bound = 1e-12;

    /// <summary>The pieces, [pieces · rows, outputs].</summary>
    public static float[] Of(LinearWeights weights, InputLeaves leaves, float[] x, int rows) => Sum(weights, leaves, x, rows, Quantised);

    /// <summary>The same with every activation rounded by itself.</summary>
    public static float[] Rounded(LinearWeights weights, InputLeaves leaves, float[] x, int rows, Func<float, float> round) =>
        Sum(weights, leaves, x, rows, (_, row) => [.. row.Select(value => (double)round(value))]);

    /// <summary>The weights of an output as the file format defines them.</summary>
    public static float[] Values(LinearWeights weights, int output)
    {
        float[] values = new float[weights.FileColumns];
        Dequantize.Row(weights.Format, weights.Row(output), values);
        return values;
    }

    private static float[] Sum(LinearWeights weights, InputLeaves leaves, float[] x, int rows, Func<InputLeaves, float[], double[]> prepare)
    {
        int columns = leaves.Columns, first = leaves.Boundaries[0];
        float[] result = new float[leaves.Pieces * rows * weights.Outputs];
        double[][] inputs = [.. Enumerable.Range(0, rows).Select(row => prepare(leaves, x[(row * columns)..((row + 1) * columns)]))];
        for (int output = 0; output < weights.Outputs; output++)
        {
            float[] w = Values(weights, output);
            for (int row = 0; row < rows; row++)
            {
                List<double> stack = [];
                for (int leaf = 0; leaf < leaves.Count; leaf++)
                {
                    double sum = 0;
                    for (int k = leaves.Boundaries[leaf]; k < leaves.Boundaries[leaf + 1]; k++)
                        sum += w[k] * inputs[row][k - first];
                    stack.Add(sum);
                    for (int merge = 0; merge < leaves.Merges[leaf]; merge++)
                    {
                        stack[^2] += stack[^1];
                        stack.RemoveAt(stack.Count - 1);
                    }
                }
                for (int piece = 0; piece < stack.Count; piece++)
                    result[(((piece * rows) + row) * weights.Outputs) + output] = (float)stack[piece];
            }
        }
        return result;
    }

    private static double[] Quantised(InputLeaves leaves, float[] row)
    {
        double[] values = new double[row.Length];
        int first = leaves.Boundaries[0];
        for (int leaf = 0; leaf < leaves.Count; leaf++)
        {
            for (int block = leaves.Boundaries[leaf] / 32 * 32; block < leaves.Boundaries[leaf + 1]; block += 32)
            {
                int from = Math.Max(block, leaves.Boundaries[leaf]) - first, to = Math.Min(block + 32, leaves.Boundaries[leaf + 1]) - first;
                float amax = row[from..to].Max(MathF.Abs), scale = amax / 127f, inverse = 127f / amax;
                for (int k = from; k < to; k++)
                    values[k] = (double)scale * Math.Round((double)(row[k] * inverse), MidpointRounding.ToEven);
            }
        }
        return values;
    }
}
