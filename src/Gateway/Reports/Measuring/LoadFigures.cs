using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>From what was seen to the figures of a report. Pure.</summary>
internal static class LoadFigures
{
    private const int Parts = 4;

    /// <summary>Throughput, latency and time by rank in a window.</summary>
    /// <param name="sample">What was seen.</param>
    /// <param name="resources">Threads or GPUs that the group holds.</param>
    public static ReportLoad Of(LoadSample sample, int resources)
    {
        double seconds = sample.End - sample.Begin;
        double[] came = [.. sample.Requests.SelectMany(request => request.Tokens).Where(Inside)];
        double[] parts = [.. Enumerable.Range(0, Parts).Select(part => came.Count(time => (int)Math.Min(Parts - 1, Parts * (time - sample.Begin) / seconds) == part) / (seconds / Parts))];
        RequestTimes[] begun = [.. sample.Requests.Where(request => request.Tokens.Count > 0 && Inside(request.Tokens[0]))];
        ReportLoad load = new()
        {
            Streams = sample.Streams,
            TokensPerSecond = came.Length / seconds,
            LeastTokensPerSecond = parts.Min(),
            MostTokensPerSecond = parts.Max(),
            PromptTokensPerSecond = begun.Sum(request => (double)request.PromptTokens) / seconds,
            Ttft = Distribution.OfSeconds(begun.Select(request => request.FirstToken!.Value)),
            Itl = Distribution.OfSeconds(sample.Requests.SelectMany(request => request.Tokens.Zip(request.Tokens.Skip(1))).Where(pair => Inside(pair.First) && Inside(pair.Second)).Select(pair => pair.Second - pair.First)),
            Ranks = { RankTimes(sample.Before, sample.After) },
        };
        if (came.Length > 0)
        {
            load.HeldSecondsPer1000Tokens = resources * seconds * 1000 / came.Length;
            if (sample.CpuSeconds is { } cpu)
                load.CpuSecondsPer1000Tokens = cpu * 1000 / came.Length;
        }
        return load;

        bool Inside(double time) => time >= sample.Begin && time < sample.End;
    }

    /// <summary>What each rank's totals grew by; of the time in collectives, what was not waiting for a peer is the exchange.</summary>
    public static IEnumerable<ReportRankTime> RankTimes(GetTopologyResponse before, GetTopologyResponse after) =>
        before.Ranks.Zip(after.Ranks).Select(rank => new ReportRankTime
        {
            Rank = rank.Second.Rank,
            Steps = rank.Second.Steps - rank.First.Steps,
            ComputeSeconds = rank.Second.ComputeSeconds - rank.First.ComputeSeconds,
            WaitSeconds = rank.Second.WaitSeconds - rank.First.WaitSeconds,
            ExchangeSeconds = rank.Second.CollectiveSeconds - rank.First.CollectiveSeconds - (rank.Second.WaitSeconds - rank.First.WaitSeconds),
            IdleSeconds = rank.Second.IdleSeconds - rank.First.IdleSeconds,
        });

    /// <summary>The same loads measured in several rounds as one: the round in the middle, with the slowest and the fastest round instead of the window's quarters.</summary>
    /// <param name="rounds">At least one, each with the same numbers of streams in the same order.</param>
    public static IReadOnlyList<ReportLoad> Merge(IReadOnlyList<IReadOnlyList<ReportLoad>> rounds)
    {
        if (rounds.Count == 1)
            return rounds[0];
        return [.. rounds[0].Select((_, at) =>
        {
            ReportLoad[] ordered = [.. rounds.Select(round => round[at]).OrderBy(load => load.TokensPerSecond)];
            ReportLoad middle = ordered[(ordered.Length - 1) / 2].Clone();
            middle.LeastTokensPerSecond = ordered[0].TokensPerSecond;
            middle.MostTokensPerSecond = ordered[^1].TokensPerSecond;
            return middle;
        })];
    }

    /// <summary>Fills in what compares groups: speed-up, efficiency and serial fraction over the group of fewest resources, and the ratio to one worker with the same ones.</summary>
    public static void Compare(IReadOnlyList<ReportVariant> variants)
    {
        ReportVariant[] measured = [.. variants.Where(variant => variant.Fault.Length == 0 && variant.Resources > 0)];
        if (measured.Length < 2)
            return;
        ReportVariant baseline = measured.OrderBy(variant => variant.Resources).ThenBy(variant => variant.Degree).First();
        foreach (ReportVariant variant in measured)
            foreach (ReportLoad load in variant.Loads)
            {
                if (Rate(baseline, load.Streams) is { } baseRate)
                {
                    double ratio = variant.Resources / (double)baseline.Resources;
                    load.SpeedUp = Scaling.SpeedUp(load.TokensPerSecond, baseRate);
                    load.Efficiency = Scaling.Efficiency(load.SpeedUp, ratio);
                    if (Scaling.KarpFlatt(load.SpeedUp, ratio) is { } serial)
                        load.KarpFlatt = serial;
                }
                if (variant.Degree > 1 && measured.FirstOrDefault(other => other.Degree == 1 && other.Resources == variant.Resources && other.Resource == variant.Resource) is { } one && Rate(one, load.Streams) is { } oneRate)
                    load.AgainstOneWorker = load.TokensPerSecond / oneRate;
            }

        static double? Rate(ReportVariant variant, int streams) => variant.Loads.FirstOrDefault(load => load.Streams == streams) is { TokensPerSecond: > 0 } load ? load.TokensPerSecond : null;
    }

    /// <summary>Share of a streaming read: bytes of weights a token, by the median time between tokens, over the read.</summary>
    public static double RooflineShare(long weightBytes, double gapMilliseconds, double readBytesPerSecond) => weightBytes / (gapMilliseconds / 1e3) / readBytesPerSecond;
}
