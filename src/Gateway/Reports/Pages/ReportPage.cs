using System.Globalization;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Pages;

/// <summary>A report as one HTML file that needs no network and no script, in light and dark.</summary>
internal static class ReportPage
{
    private const string Style = """
        :root{color-scheme:light dark;--ink:#1a1c1e;--soft:#5a6068;--line:#d9dde2;--paper:#fff;--box:#f4f6f8;--s0:#0b63b0;--s1:#c65a11;--s2:#12805c;--s3:#b0408a;--s4:#8a6d00;--s5:#5b5fc7}
        @media (prefers-color-scheme:dark){:root{--ink:#e7eaee;--soft:#a5adb8;--line:#3a4149;--paper:#14171a;--box:#1d2126;--s0:#6fb3f2;--s1:#f2a05f;--s2:#4cc79b;--s3:#e58cc4;--s4:#d6b93c;--s5:#a5a8f5}}
        body{margin:0 auto;max-width:74rem;padding:1.5rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
        h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}p.soft,caption{color:var(--soft)}p.lead{background:var(--box);border-left:4px solid var(--s0);padding:.9rem 1.1rem;font-size:1.05rem}
        .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:1rem}figure{margin:0;border:1px solid var(--line);border-radius:6px;padding:.6rem}figcaption{font-size:.9rem;color:var(--soft)}
        .wide{overflow-x:auto}table{border-collapse:collapse;margin:.4rem 0 1rem;font-variant-numeric:tabular-nums;font-size:.9rem}caption{text-align:left;padding-bottom:.3rem}
        th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}th:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}
        svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--ink)}svg .value{fill:var(--soft);font-size:9px}.grid{stroke:var(--line)}.ideal{stroke:var(--soft);stroke-dasharray:5 4}polyline{fill:none;stroke-width:2}
        .c0{fill:var(--s0)}.c1{fill:var(--s1)}.c2{fill:var(--s2)}.c3{fill:var(--s3)}.c4{fill:var(--s4)}.c5{fill:var(--s5)}.l0{stroke:var(--s0)}.l1{stroke:var(--s1)}.l2{stroke:var(--s2)}.l3{stroke:var(--s3)}.l4{stroke:var(--s4)}.l5{stroke:var(--s5)}
        """;

    /// <summary>The whole page.</summary>
    public static string Render(TpReport report)
    {
        ReportVariant[] measured = [.. report.Variants.Where(variant => variant.Fault.Length == 0)];
        ReportSubject subject = report.Subject ?? new ReportSubject();
        Markup page = new Markup().Constant("<!DOCTYPE html>\n").Open("html", ("lang", "en")).Open("head").Open("meta", ("charset", "utf-8"))
            .Open("meta", ("name", "viewport"), ("content", "width=device-width, initial-scale=1"))
            .Open("meta", ("http-equiv", "Content-Security-Policy"), ("content", "default-src 'none'; style-src 'unsafe-inline'"))
            .Element("title", $"TpServe report: {subject.Model}").Open("style").Constant(Style).Close("style").Close("head").Line().Open("body").Line();
        page.Element("h1", "What tensor parallelism costs and brings")
            .Element("p", Say($"{subject.Summary}. {subject.Device}; {subject.System}. TpServe {report.Release}, {report.Created}, {report.Seconds:F0} s."), ("class", "soft"))
            .Element("p", report.Recommendation, ("class", "lead"));
        if (report.Workload is { } work)
            page.Element("p", Say($"{work.Prompts} prompts of {work.LeastPromptTokens} to {work.MostPromptTokens} tokens ({work.Source}{(work.HasSeed ? Say($", seed {work.Seed}") : "")}), {work.OutputTokens} tokens after each, greedy; throughput over {work.WindowSeconds:0.#} s at each number of streams{(work.Rounds > 1 ? Say($", the middle one of {work.Rounds} rounds") : "")}. Every group of workers was a server of its own, one after the other."));
        if (measured.Length > 0)
        {
            Plots(page, measured);
            ReportTables.Variants(page, measured);
            ReportTables.Loads(page, measured);
            ReportTables.RankTimes(page, measured);
            ReportTables.Ranks(page, measured);
            ReportTables.Collectives(page, measured);
        }
        ReportTables.Faults(page, report.Variants.Where(variant => variant.Fault.Length > 0));
        Outputs(page, report);
        page.Element("h2", "What the figures mean").Open("ul");
        foreach (string meaning in Meanings.Concat(report.Notes))
            page.Element("li", meaning).Line();
        return page.Close("ul").Close("body").Close("html").Line().ToString();
    }

    /// <summary>How each figure is defined, for every report.</summary>
    internal static IReadOnlyList<string> Meanings { get; } =
    [
        "TTFT: from sending a request to its first token. TPOT: the mean time of a request's tokens after the first. ITL: the time between two tokens, pooled over requests. All seen by a client on the same machine, over gRPC; the client takes a little of it.",
        "Tokens per second: generated tokens that came in the window, while each stream sends its next request as soon as the last one has ended; prompts are computed in the same time.",
        "Resources: compute threads (workers × threads, no more than there are cores) or GPUs. Speed-up S: tokens per second over those of the measured group with the fewest resources. N: its resources over theirs. Efficiency: S/N. Karp–Flatt serial fraction: (1/S − 1/N)/(1 − 1/N), which says nothing at N = 1.",
        "Against one worker: tokens per second over those of one worker with the same resources. On one machine this is what splitting itself costs or brings: no hardware is added.",
        "Wait: a rank's time in collectives in which it had nothing to do but wait for another rank (on GPUs the device waits, and it stands under exchange). Exchange: the rest of its time in collectives. Idle: between steps.",
        "Share of the roofline: bytes of weights that a decoded token reads, over the median time between tokens of one stream, over the best streaming read of memory by as many threads, before the group was started and while it was idle; keys and values are not counted. Above 1, a shared host gave less to the read than to the server.",
        "Core- or GPU-seconds per 1,000 tokens: resources × seconds, held whether used or not. CPU-seconds: processor time of gateway and workers; threads that wait for a peer for a short while do so busily.",
        "Perplexity: exp of the mean negative logprob over windows without overlap, so that a window's first tokens have little before them. KL: a lower bound, over the tokens in both top lists and one bucket for all others.",
    ];

    private static void Plots(Markup page, ReportVariant[] measured)
    {
        string[] percentiles = ["p50", "p90", "p99"];
        page.Element("h2", "At a glance").Open("div", ("class", "plots"));
        Figure(page, "Time to first token of one request at a time, by group of workers.", Chart.Bars("Time to first token", "ms", percentiles, Times(variant => variant.Ttft), stacked: false));
        Figure(page, "Time of a token after the first, one request at a time.", Chart.Bars("Time per output token", "ms", percentiles, Times(variant => variant.Tpot), stacked: false));
        string[] streams = [.. measured[0].Loads.Select(load => Say($"{load.Streams} stream{(load.Streams == 1 ? "" : "s")}"))];
        Figure(page, "Generated tokens per second by number of streams.", Chart.Bars("Throughput", "tokens/s", streams,
            [.. measured.Select(variant => new ChartSeries(variant.Name, [.. measured[0].Loads.Select(load => Of(variant, load.Streams)?.TokensPerSecond ?? double.NaN)]))], stacked: false));
        Figure(page, "Speed-up over the group with the fewest resources, by number of streams; dashed: ideal.", Chart.SpeedUps("Speed-up against ideal", measured[0].Resource,
            [.. measured[0].Loads.Select(load => (Say($"{load.Streams} stream{(load.Streams == 1 ? "" : "s")}"), (IReadOnlyList<(double, double)>)
                [.. measured.Select(variant => (variant.Resources, Load: Of(variant, load.Streams))).Where(one => one.Load is { HasSpeedUp: true }).Select(one => ((double)one.Resources, one.Load!.SpeedUp))]))]));
        foreach (int count in new[] { measured[0].Loads.Min(load => load.Streams), measured[0].Loads.Max(load => load.Streams) }.Distinct())
        {
            (string Name, ReportRankTime Time)[] ranks = [.. measured.SelectMany(variant => (Of(variant, count)?.Ranks ?? []).Select(rank => (Say($"{variant.Name} · {rank.Rank}"), rank)))];
            Figure(page, Say($"Where each rank's time went, {count} stream{(count == 1 ? "" : "s")}: group · rank."), Chart.Bars(Say($"Time by rank, {count} streams"), "s", [.. ranks.Select(rank => rank.Name)],
            [
                new ChartSeries("compute", [.. ranks.Select(rank => rank.Time.ComputeSeconds)]), new ChartSeries("wait", [.. ranks.Select(rank => rank.Time.WaitSeconds)]),
                new ChartSeries("exchange", [.. ranks.Select(rank => rank.Time.ExchangeSeconds)]), new ChartSeries("idle", [.. ranks.Select(rank => rank.Time.IdleSeconds)]),
            ], stacked: true));
        }
        page.Close("div").Line();

        ChartSeries[] Times(Func<ReportVariant, ReportQuantiles?> of) =>
            [.. measured.Where(variant => of(variant) is not null).Select(variant => new ChartSeries(variant.Name, [of(variant)!.P50, of(variant)!.P90, of(variant)!.P99]))];
    }

    private static void Outputs(Markup page, TpReport report)
    {
        page.Element("h2", "Outputs");
        if (report.Equality is { Compared: > 0 } equality)
            page.Element("p", equality.FirstDifference.Length == 0
                ? Say($"All {equality.Compared + 1} groups gave the same token ids and the same bits of every logprob: {equality.Values} values each.")
                : Say($"{equality.Compared - equality.Equal} of {equality.Compared} groups differ from the first. First difference: {equality.FirstDifference}."));
        if (report.Quality is not { } quality)
            return;
        page.Element("p", Say($"Perplexity {quality.Perplexity:F3} on {quality.Tokens} tokens ({quality.Text}), in windows of {quality.WindowTokens}."));
        if (quality.Reference is { } reference)
            page.Element("p", Say($"Against activations of f32, {reference.Positions} positions: KL at least {reference.Kl:G3} nats, the same likeliest token at {Figures.Percent(reference.Top1)}, perplexity {reference.ServedPerplexity:F3} against {reference.Perplexity:F3}."));
        foreach (ReportVariant variant in report.Variants.Where(variant => variant.Rounding is not null))
            page.Element("p", ReportSummary.Rounding(variant) + ".");
        if (quality.Eval is { } eval)
            page.Table(Say($"{eval.Items} questions of {eval.File}"), ["", "accuracy", "macro F1"],
            [
                ["sum of logprobs", Figures.Percent(eval.Accuracy), Figures.Short(eval.MacroF1)],
                ["by byte of the choice", Figures.Percent(eval.NormalisedAccuracy), Figures.Short(eval.NormalisedMacroF1)],
            ]);
    }

    private static void Figure(Markup page, string caption, Markup chart) => page.Open("figure").Add(chart).Element("figcaption", caption).Close("figure").Line();

    private static ReportLoad? Of(ReportVariant variant, int streams) => variant.Loads.FirstOrDefault(load => load.Streams == streams);

    private static string Say(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
