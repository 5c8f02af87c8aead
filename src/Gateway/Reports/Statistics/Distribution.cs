using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Statistics;

/// <summary>Quantiles of what was measured.</summary>
internal static class Distribution
{
    /// <summary>x(⌊h⌋) + (h − ⌊h⌋)·(x(⌊h⌋+1) − x(⌊h⌋)) with h = (n − 1)·q: linear interpolation between order statistics.</summary>
    /// <remarks>Source   Hyndman and Fan 1996, definition 7.</remarks>
    /// <param name="ascending">At least one value.</param>
    /// <param name="q">0 to 1.</param>
    public static double Quantile(IReadOnlyList<double> ascending, double q)
    {
        ArgumentOutOfRangeException.ThrowIfZero(ascending.Count, nameof(ascending));
        double at = (ascending.Count - 1) * q;
        int below = (int)Math.Floor(at), above = Math.Min(below + 1, ascending.Count - 1);
        return ascending[below] + ((at - below) * (ascending[above] - ascending[below]));
    }

    /// <summary>Seconds as quantiles in milliseconds; null where there are none.</summary>
    public static ReportQuantiles? OfSeconds(IEnumerable<double> seconds)
    {
        double[] ascending = [.. seconds.Select(value => 1e3 * value).Order()];
        return ascending.Length == 0 ? null : new ReportQuantiles
        {
            Count = ascending.Length,
            P50 = Quantile(ascending, 0.5),
            P90 = Quantile(ascending, 0.9),
            P99 = Quantile(ascending, 0.99),
            Mean = ascending.Average(),
        };
    }
}
