using System.Globalization;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Pages;

/// <summary>A report's figures as comma-separated tables, one row a thing measured; an empty cell was not.</summary>
/// <remarks>Source   RFC 4180, with lines that end in CR LF.</remarks>
internal static class CsvTables
{
    /// <summary>Name and content of each file.</summary>
    public static IEnumerable<(string Name, string Content)> Of(TpReport report)
    {
        ReportVariant[] measured = [.. report.Variants.Where(variant => variant.Fault.Length == 0)];
        yield return ("variants.csv", Table(
            ["variant", "degree", "partition", "wire", "baseline", "resources", "resource", "ready_s", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "tpot_p50_ms", "tpot_p90_ms", "tpot_p99_ms",
                "itl_p50_ms", "itl_p90_ms", "itl_p99_ms", "read_bytes_per_s", "weight_bytes_per_token", "roofline_share"],
            measured.Select(variant => (object?[])
            [
                variant.Name, variant.Degree, variant.Partition, variant.Wire, variant.Baseline, variant.Resources, variant.Resource, variant.ReadySeconds,
                .. Quantiles(variant.Ttft), .. Quantiles(variant.Tpot), .. Quantiles(variant.Itl),
                variant.HasReadBytesPerSecond ? variant.ReadBytesPerSecond : null, variant.HasWeightBytesPerToken ? variant.WeightBytesPerToken : null, variant.HasRooflineShare ? variant.RooflineShare : null,
            ])));
        yield return ("throughput.csv", Table(
            ["variant", "streams", "tokens_per_s", "least_tokens_per_s", "most_tokens_per_s", "prompt_tokens_per_s", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p90_ms", "itl_p99_ms",
                "held_s_per_1000_tokens", "cpu_s_per_1000_tokens", "speed_up", "efficiency", "karp_flatt", "against_one_worker"],
            measured.SelectMany(variant => variant.Loads.Select(load => (object?[])
            [
                variant.Name, load.Streams, load.TokensPerSecond, load.LeastTokensPerSecond, load.MostTokensPerSecond, load.PromptTokensPerSecond, .. Quantiles(load.Ttft), .. Quantiles(load.Itl),
                load.HeldSecondsPer1000Tokens, load.HasCpuSecondsPer1000Tokens ? load.CpuSecondsPer1000Tokens : null, load.HasSpeedUp ? load.SpeedUp : null, load.HasEfficiency ? load.Efficiency : null,
                load.HasKarpFlatt ? load.KarpFlatt : null, load.HasAgainstOneWorker ? load.AgainstOneWorker : null,
            ]))));
        yield return ("rank_times.csv", Table(
            ["variant", "streams", "rank", "steps", "compute_s", "wait_s", "exchange_s", "idle_s"],
            measured.SelectMany(variant => variant.Loads.SelectMany(load => load.Ranks.Select(rank => (object?[])
                [variant.Name, load.Streams, rank.Rank, rank.Steps, rank.ComputeSeconds, rank.WaitSeconds, rank.ExchangeSeconds, rank.IdleSeconds])))));
        yield return ("ranks.csv", Table(
            ["variant", "rank", "device", "transport", "all_reduce_us", "heads", "kv_heads", "mlp_leaves", "vocab_rows", "weight_bytes", "kv_bytes", "peak_resident_bytes"],
            measured.SelectMany(variant => variant.Ranks.Select(rank => (object?[])
            [
                variant.Name, rank.Rank, rank.Device, rank.Transport, rank.AllReduceMicroseconds, Range(rank.Heads), Range(rank.KvHeads), Range(rank.MlpLeaves), Range(rank.VocabRows),
                rank.WeightBytes, rank.KvBytes, rank.HasPeakResidentBytes ? rank.PeakResidentBytes : null,
            ]))));
        yield return ("collectives.csv", Table(
            ["variant", "rank", "purpose", "calls", "sent_bytes", "across_bytes", "seconds", "tokens"],
            measured.SelectMany(variant => variant.Ranks.SelectMany(rank => rank.Collectives.Select(traffic => (object?[])
                [variant.Name, rank.Rank, traffic.Purpose, traffic.Calls, traffic.SentBytes, traffic.AcrossBytes, traffic.Seconds, rank.CollectiveTokens])))));
        yield return ("wires.csv", Table(
            ["variant", "against", "positions", "kl", "top1", "perplexity", "exact_perplexity", "sent_bytes_per_token", "exact_sent_bytes_per_token"],
            measured.Where(variant => variant.Rounding is not null).Select(variant => (object?[])
            [
                variant.Name, variant.Rounding.Against, variant.Rounding.Positions, variant.Rounding.Kl, variant.Rounding.Top1, variant.Rounding.Perplexity, variant.Rounding.ExactPerplexity,
                variant.Rounding.SentBytesPerToken, variant.Rounding.ExactSentBytesPerToken,
            ])));
    }

    /// <summary>Rows as text.</summary>
    public static string Table(IReadOnlyList<string> titles, IEnumerable<IReadOnlyList<object?>> rows) =>
        string.Concat(rows.Prepend([.. titles]).Select(row => string.Join(',', row.Select(Cell)) + "\r\n"));

    /// <summary>Half-open, as "0..5".</summary>
    private static string Range(IndexRange? range) => range is null ? "" : string.Create(CultureInfo.InvariantCulture, $"{range.Start}..{range.End}");

    private static IEnumerable<object?> Quantiles(ReportQuantiles? time) => time is null ? [null, null, null] : [time.P50, time.P90, time.P99];

    private static string Cell(object? value)
    {
        string text = value switch
        {
            null => "",
            bool flag => flag ? "true" : "false",
            double number => number.ToString("R", CultureInfo.InvariantCulture),
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
        };
        return text.AsSpan().IndexOfAny(",\"\r\n") < 0 ? text : $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }
}
