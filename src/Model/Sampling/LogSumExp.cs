using System.Runtime.Intrinsics;

namespace TpServe.Model.Sampling;

/// <summary>ln Σ exp(x) and the exponentials themselves, over a whole row.</summary>
/// <remarks>
/// Numerics float64; four lanes over the row in ascending order, added 0 + 1 + 2 + 3 at the end, then the ragged rest: one fixed order,
///          whoever calls it. −∞ contributes 0, and a NaN as much.
/// </remarks>
internal static class LogSumExp
{
    /// <summary>ln Σ exp(x).</summary>
    public static double Of(ReadOnlySpan<float> x)
    {
        float largest = Largest(x);
        if (float.IsNegativeInfinity(largest))
            return double.NegativeInfinity;
        return largest + Math.Log(Exponentials(x, 1f, largest, default));
    }

    /// <summary>weights[i] = exp(x[i] / temperature − largest); returns their sum. largest is that of x / temperature; weights may be empty.</summary>
    public static double Exponentials(ReadOnlySpan<float> x, float temperature, float largest, Span<double> weights)
    {
        Vector256<double> sums = Vector256<double>.Zero;
        int i = 0;
        for (; i <= x.Length - 4; i += 4)
        {
            Vector128<float> scaled = Vector128.Create(x.Slice(i, 4)) / temperature;
            (Vector128<double> low, Vector128<double> high) = Vector128.Widen(scaled);
            Vector256<double> weight = Vector256.Exp(Vector256.Create(low, high) - Vector256.Create((double)largest));
            weight = Vector256.ConditionalSelect(Vector256.Equals(weight, weight), weight, Vector256<double>.Zero);
            sums += weight;
            if (!weights.IsEmpty)
                weight.CopyTo(weights[i..]);
        }
        double sum = sums[0] + sums[1] + sums[2] + sums[3];
        for (; i < x.Length; i++)
        {
            double weight = float.IsNaN(x[i]) ? 0 : Math.Exp((double)(x[i] / temperature) - largest);
            sum += weight;
            if (!weights.IsEmpty)
                weights[i] = weight;
        }
        return sum;
    }

    /// <summary>The largest value; −∞ for none.</summary>
    public static float Largest(ReadOnlySpan<float> x)
    {
        float largest = float.NegativeInfinity;
        foreach (float value in x)
            if (value > largest)
                largest = value;
        return largest;
    }
}
