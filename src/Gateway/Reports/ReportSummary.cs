using System.Globalization;
using TpServe.Gateway.Reports.Pages;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports;

/// <summary>A report in a few lines for a terminal.</summary>
internal static class ReportSummary
{
    /// <summary>One line a group, then what holds for all, then the recommendation.</summary>
    public static void Print(TpReport report, TextWriter output)
    {
        int[] streams = [.. report.Variants.SelectMany(variant => variant.Loads).Select(load => load.Streams).Distinct().Order()];
        List<string[]> rows = [["", "TTFT ms", "TPOT ms", .. streams.Select(count => string.Create(CultureInfo.InvariantCulture, $"tokens/s x{count}")), "speed-up", "roofline"]];
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Fault.Length == 0))
            rows.Add(
            [
                variant.Name, variant.Ttft is { } first ? Figures.Short(first.P50) : "", variant.Tpot is { } token ? Figures.Short(token.P50) : "",
                .. streams.Select(count => variant.Loads.FirstOrDefault(load => load.Streams == count) is { } load ? Figures.Short(load.TokensPerSecond) : ""),
                variant.Loads.FirstOrDefault() is { HasSpeedUp: true } alone ? Figures.Short(alone.SpeedUp) : "", variant.HasRooflineShare ? Figures.Short(variant.RooflineShare) : "",
            ]);
        int[] widths = [.. rows[0].Select((_, column) => rows.Max(row => row[column].Length))];
        foreach (string[] row in rows)
            output.WriteLine((row[0].PadRight(widths[0]) + "  " + string.Join("  ", row.Skip(1).Select((cell, column) => cell.PadLeft(widths[column + 1])))).TrimEnd());
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Fault.Length > 0))
            output.WriteLine($"{variant.Name} was not measured: {variant.Fault}");
        if (report.Equality is { Compared: > 0 } equality)
            output.WriteLine(equality.FirstDifference.Length == 0
                ? string.Create(CultureInfo.InvariantCulture, $"outputs are the same to the bit: {equality.Values} values in each of {equality.Compared + 1} groups")
                : $"OUTPUTS DIFFER: {equality.FirstDifference}");
        if (report.Quality is { } quality)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"perplexity {quality.Perplexity:F3} on {quality.Tokens} tokens") + (quality.Reference is { } reference
                ? string.Create(CultureInfo.InvariantCulture, $"; against activations of f32: KL at least {reference.Kl:G3}, same likeliest token {100 * reference.Top1:F1} %, perplexity {reference.Perplexity:F3}") : ""));
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Rounding is not null))
            output.WriteLine(Rounding(variant));
        if (report.Quality?.Eval is { } eval)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{eval.Items} questions: accuracy {100 * eval.Accuracy:F1} % ({100 * eval.NormalisedAccuracy:F1} % by byte), macro F1 {eval.MacroF1:F3} ({eval.NormalisedMacroF1:F3})"));
        output.WriteLine(report.Recommendation);
    }

    /// <summary>What a group's rounding costs and saves, in a sentence.</summary>
    public static string Rounding(ReportVariant variant) => string.Create(CultureInfo.InvariantCulture,
        $"{variant.Name} against {variant.Rounding.Against}: KL at least {variant.Rounding.Kl:G3}, same likeliest token {100 * variant.Rounding.Top1:F1} %, perplexity {variant.Rounding.Perplexity:F3} and {variant.Rounding.ExactPerplexity:F3}, {variant.Rounding.SentBytesPerToken:F0} bytes sent a token and {variant.Rounding.ExactSentBytesPerToken:F0}");
}
