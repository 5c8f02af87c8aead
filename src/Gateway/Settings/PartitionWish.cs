using System.Globalization;

namespace TpServe.Gateway.Settings;

/// <summary>How the model is to be split among the workers.</summary>
/// <param name="IsAuto">By what was measured of them.</param>
/// <param name="Weights">Shares, one a worker; none = evenly, or by measurement.</param>
public sealed record PartitionWish(bool IsAuto, IReadOnlyList<double> Weights)
{
    /// <summary>The least share.</summary>
    public const double Least = 1e-6;

    /// <summary>The largest share.</summary>
    public const double Most = 1e6;

    /// <summary>Shares as equal as they can be.</summary>
    public static PartitionWish Even { get; } = new(false, []);

    /// <summary>By measurement.</summary>
    public static PartitionWish Auto { get; } = new(true, []);

    /// <summary>As a setting says it.</summary>
    public string Text => IsAuto ? "auto" : Weights.Count == 0 ? "even" : string.Join(',', Weights.Select(weight => weight.ToString(CultureInfo.InvariantCulture)));

    /// <summary>The wish of a text, or what is wrong with it.</summary>
    public static (PartitionWish Wish, string? Fault) Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Equals("even", StringComparison.OrdinalIgnoreCase))
            return (Even, null);
        if (text.Equals("auto", StringComparison.OrdinalIgnoreCase))
            return (Auto, null);
        List<double> weights = [];
        foreach (string part in text.Split(','))
        {
            // What is no number compares as false, so that it is asked what a weight must be, not what it must not be.
            if (!double.TryParse(part, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double weight) || !(weight is >= Least and <= Most))
                return (Even, $"'{text}': {(part.Length == 0 ? "a weight is missing" : $"'{part}' is no number in 0.000001..1000000")}; write even, auto, or one weight for each worker as in 2,1.");
            weights.Add(weight);
        }
        return (new PartitionWish(false, weights), null);
    }
}
