namespace TpServe.Gateway.Reports.Statistics;

/// <summary>What more resources brought, by rates of the same work.</summary>
internal static class Scaling
{
    /// <summary>S = rate / rate of the baseline.</summary>
    public static double SpeedUp(double rate, double baselineRate) => rate / baselineRate;

    /// <summary>E = S / N.</summary>
    /// <param name="speedUp">S.</param>
    /// <param name="resourceRatio">N: resources over the baseline's.</param>
    public static double Efficiency(double speedUp, double resourceRatio) => speedUp / resourceRatio;

    /// <summary>e = (1/S − 1/N) / (1 − 1/N): the share of the baseline's time that did not get shorter; null where N is not above 1, which makes it undefined.</summary>
    /// <remarks>Source   Karp and Flatt 1990, eq. 4. Negative where S exceeds N.</remarks>
    public static double? KarpFlatt(double speedUp, double resourceRatio) =>
        resourceRatio > 1 && speedUp > 0 ? ((1 / speedUp) - (1 / resourceRatio)) / (1 - (1 / resourceRatio)) : null;
}
