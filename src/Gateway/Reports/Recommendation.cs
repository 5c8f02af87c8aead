using System.Globalization;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports;

/// <summary>What to serve with, in one sentence, from the numbers alone.</summary>
internal static class Recommendation
{
    // Two servers, one after the other, on a machine that others may share: less than this is not told from chance.
    private const double LeastDifference = 0.05;

    /// <summary>
    /// 1. who is fastest for one stream, and who under most streams, each with those no slower by more than chance; 2. who is among both, else one for each use, of
    /// fewest workers; 3. one sentence, with the other's figures; a difference of outputs is warned of, whatever is fast.
    /// </summary>
    public static string Of(IReadOnlyList<ReportVariant> variants, ReportEquality? equality)
    {
        ReportVariant[] measured = [.. variants.Where(variant => !variant.Baseline && variant.Fault.Length == 0 && variant.Loads.Count > 0)];
        if (measured.Where(variant => variant.Wire is "" or "f32").ToArray() is { Length: > 0 } exact)
            measured = exact; // rounding is never recommended: it changes outputs
        if (measured.Length == 0)
            return "Nothing was measured, so nothing is recommended.";
        int most = measured[0].Loads.Max(load => load.Streams), least = measured[0].Loads.Min(load => load.Streams);
        string warning = equality is { FirstDifference.Length: > 0 } ? $" But outputs differ ({equality.FirstDifference}): find out why first." : "";
        string same = equality is { Compared: > 0, FirstDifference.Length: 0 } ? "; outputs are the same to the bit" : "";
        if (measured.Length == 1)
            return Say($"Only {measured[0].Name} was measured: {Rate(measured[0], least):F1} tokens/s for one stream, {Rate(measured[0], most):F1} for {most}.{warning}");
        ReportVariant[] fastAlone = Fastest(measured, least), fastMany = Fastest(measured, most), both = [.. fastAlone.Intersect(fastMany)];
        if (both.Length > 0)
        {
            ReportVariant one = Fewest(both);
            return Say($"Serve with {Flags(one)}: {Why(one, measured, least)}{(least == most ? "" : $"; {Why(one, measured, most)}")}{same}.{warning}");
        }
        ReportVariant alone = Fewest(fastAlone), many = Fewest(fastMany);
        return Say($"Serve with {Flags(alone)} for the fastest single answers ({Why(alone, measured, least)}) and with {Flags(many)} for many at once ({Why(many, measured, most)}){same}.{warning}");
    }

    /// <summary>The fastest, and those no slower than it by more than chance.</summary>
    private static ReportVariant[] Fastest(ReportVariant[] measured, int streams)
    {
        ReportVariant top = measured.MaxBy(variant => Rate(variant, streams))!;
        return [.. measured.Where(variant => variant == top || Rate(top, streams) / Rate(variant, streams) <= 1 + Chance(top, variant, streams))];
    }

    private static ReportVariant Fewest(ReportVariant[] variants) => variants.MinBy(variant => variant.Degree)!;

    /// <summary>Its rate beside that of the fastest other one.</summary>
    private static string Why(ReportVariant one, ReportVariant[] measured, int streams)
    {
        ReportVariant other = measured.Where(variant => variant != one).MaxBy(variant => Rate(variant, streams))!;
        string figures = Say($"{Rate(one, streams):F1} tokens/s for {(streams == 1 ? "one stream" : Say($"{streams} streams"))} against {Rate(other, streams):F1} with {other.Name}");
        return Math.Abs((Rate(one, streams) / Rate(other, streams)) - 1) <= Chance(one, other, streams) ? figures + ", which is no sure difference" : figures;
    }

    /// <summary>How far two rates may lie apart by chance, over the rate: the standard errors of both, and never less than a floor.</summary>
    private static double Chance(ReportVariant one, ReportVariant other, int streams) => Math.Max(LeastDifference, StandardError(one, streams) + StandardError(other, streams));

    // Four quarters of a window spread about two standard deviations; the mean of four has half of one.
    private static double StandardError(ReportVariant variant, int streams) =>
        Load(variant, streams) is { TokensPerSecond: > 0 } load ? (load.MostTokensPerSecond - load.LeastTokensPerSecond) / load.TokensPerSecond / 4 : 0;

    private static double Rate(ReportVariant variant, int streams) => Load(variant, streams)?.TokensPerSecond ?? 0;

    private static ReportLoad? Load(ReportVariant variant, int streams) => variant.Loads.FirstOrDefault(load => load.Streams == streams);

    private static string Flags(ReportVariant variant) =>
        Say($"--tp {variant.Degree}") + (variant.Partition.Length == 0 ? "" : $" --partition {variant.Partition}") + (variant.Wire is "" or "f32" ? "" : $" --wire {variant.Wire}");

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
