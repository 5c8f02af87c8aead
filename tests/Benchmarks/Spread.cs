using System.Globalization;

namespace TpServe.Benchmarks;

/// <summary>Repeated measurements: the middle one, and how far they reach.</summary>
/// <param name="Median">The middle one, the upper of two.</param>
/// <param name="Low">The smallest.</param>
/// <param name="High">The largest.</param>
/// <param name="Count">How many there were.</param>
internal sealed record Spread(double Median, double Low, double High, int Count)
{
    /// <summary>Of at least one value.</summary>
    public static Spread Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return new Spread(sorted[sorted.Length / 2], sorted[0], sorted[^1], sorted.Length);
    }

    /// <summary>"median (low-high)" with so many decimals.</summary>
    public string Text(int decimals)
    {
        string format = "F" + decimals.ToString(CultureInfo.InvariantCulture);
        return $"{Median.ToString(format, CultureInfo.InvariantCulture)} ({Low.ToString(format, CultureInfo.InvariantCulture)}-{High.ToString(format, CultureInfo.InvariantCulture)})";
    }
}
