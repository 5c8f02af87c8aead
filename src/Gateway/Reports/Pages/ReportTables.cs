using System.Globalization;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Pages;

/// <summary>The page's tables: every figure that the plots show, and those they do not.</summary>
internal static class ReportTables
{
    private const string None = "–";

    /// <summary>One row a group: latency of one request at a time.</summary>
    public static void Variants(Markup page, IEnumerable<ReportVariant> measured) => page.Element("h2", "One request at a time").Table(
        "Milliseconds, p50 / p90 / p99", ["", "resources", "ready after", "TTFT", "TPOT", "ITL", "streaming read", "weights a token", "share of the roofline"],
        measured.Select(variant => (IReadOnlyList<string>)
        [
            variant.Name, Say($"{variant.Resources} {variant.Resource}"), Say($"{variant.ReadySeconds:F1} s"), Times(variant.Ttft), Times(variant.Tpot), Times(variant.Itl),
            variant.HasReadBytesPerSecond ? Say($"{variant.ReadBytesPerSecond / 1e9:F1} GB/s") : None,
            variant.HasWeightBytesPerToken ? Figures.Mebibytes(variant.WeightBytesPerToken) : None,
            variant.HasRooflineShare ? Figures.Short(variant.RooflineShare) : None,
        ]));

    /// <summary>One row a group and number of streams.</summary>
    public static void Loads(Markup page, IEnumerable<ReportVariant> measured) => page.Element("h2", "Many at once").Table(
        "Throughput: over the window, and its slowest to fastest quarter, or round where there are several; times in milliseconds, p50 / p90 / p99",
        ["", "streams", "tokens/s", "from–to", "prompt tokens/s", "TTFT", "ITL", "held s / 1,000", "CPU s / 1,000", "speed-up", "efficiency", "Karp–Flatt", "against one worker"],
        measured.SelectMany(variant => variant.Loads.Select(load => (IReadOnlyList<string>)
        [
            variant.Name, Say($"{load.Streams}"), Figures.Short(load.TokensPerSecond), $"{Figures.Short(load.LeastTokensPerSecond)}–{Figures.Short(load.MostTokensPerSecond)}", Figures.Short(load.PromptTokensPerSecond),
            Times(load.Ttft), Times(load.Itl), Figures.Short(load.HeldSecondsPer1000Tokens), load.HasCpuSecondsPer1000Tokens ? Figures.Short(load.CpuSecondsPer1000Tokens) : None,
            load.HasSpeedUp ? Figures.Short(load.SpeedUp) : None, load.HasEfficiency ? Figures.Short(load.Efficiency) : None, load.HasKarpFlatt ? Figures.Short(load.KarpFlatt) : None,
            load.HasAgainstOneWorker ? Figures.Short(load.AgainstOneWorker) : None,
        ])));

    /// <summary>One row a group, number of streams and rank.</summary>
    public static void RankTimes(Markup page, IEnumerable<ReportVariant> measured) => page.Element("h2", "Time by rank").Table(
        "Share of the rank's time in the window", ["", "streams", "rank", "steps", "ms a step", "compute", "wait", "exchange", "idle"],
        measured.SelectMany(variant => variant.Loads.SelectMany(load => load.Ranks.Select(rank =>
        {
            double whole = rank.ComputeSeconds + rank.WaitSeconds + rank.ExchangeSeconds + rank.IdleSeconds;
            return (IReadOnlyList<string>)
            [
                variant.Name, Say($"{load.Streams}"), Say($"{rank.Rank}"), Say($"{rank.Steps}"), rank.Steps == 0 ? None : Figures.Short(1e3 * whole / rank.Steps),
                Share(rank.ComputeSeconds), Share(rank.WaitSeconds), Share(rank.ExchangeSeconds), Share(rank.IdleSeconds),
            ];
            string Share(double seconds) => whole > 0 ? Figures.Percent(seconds / whole) : None;
        }))));

    /// <summary>One row a rank: what it owns.</summary>
    public static void Ranks(Markup page, IEnumerable<ReportVariant> measured) => page.Element("h2", "Ranks").Table(
        "What each rank owns; peak memory is what its process had resident", ["", "rank", "heads", "kv heads", "mlp leaves", "vocabulary", "weights", "peak memory", "transport", "small all-reduce", "device", "backend"],
        measured.SelectMany(variant => variant.Ranks.Select(rank => (IReadOnlyList<string>)
        [
            variant.Name, Say($"{rank.Rank}"), Range(rank.Heads), Range(rank.KvHeads), Range(rank.MlpLeaves), Range(rank.VocabRows), Figures.Mebibytes(rank.WeightBytes),
            rank.HasPeakResidentBytes ? Figures.Mebibytes(rank.PeakResidentBytes) : None, rank.Transport, rank.AllReduceMicroseconds > 0 ? Say($"{rank.AllReduceMicroseconds:F1} µs") : None, rank.Device, rank.Backend,
        ])));

    /// <summary>One row a group and kind of collective, over all ranks.</summary>
    public static void Collectives(Markup page, IEnumerable<ReportVariant> measured) => page.Element("h2", "Collectives").Table(
        "Over everything measured, prompts too; bytes of all ranks for each token computed, time of the rank that took longest", ["", "for", "calls", "bytes a token", "of them across hosts", "µs a token"],
        measured.SelectMany(variant => variant.Ranks.SelectMany(rank => rank.Collectives.Select(traffic => (Rank: rank, Traffic: traffic))).GroupBy(one => one.Traffic.Purpose).Select(kind => (IReadOnlyList<string>)
        [
            variant.Name, kind.Key, Say($"{kind.Max(one => one.Traffic.Calls)}"), Say($"{kind.Sum(one => one.Traffic.SentBytesPerToken):F0}"), Say($"{kind.Sum(one => one.Traffic.AcrossBytesPerToken):F0}"),
            Figures.Short(kind.Max(one => 1e6 * one.Traffic.Seconds / one.Rank.CollectiveTokens)),
        ])));

    /// <summary>What could not be measured.</summary>
    public static void Faults(Markup page, IEnumerable<ReportVariant> failed)
    {
        foreach (ReportVariant variant in failed)
            page.Element("p", $"{variant.Name} was not measured: {variant.Fault}");
    }

    private static string Times(ReportQuantiles? time) => time is null ? None : $"{Figures.Short(time.P50)} / {Figures.Short(time.P90)} / {Figures.Short(time.P99)}";

    private static string Range(IndexRange? range) => range is null || range.End == range.Start ? "none" : Say($"{range.Start}..{range.End - 1}");

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
