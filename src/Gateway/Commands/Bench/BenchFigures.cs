using System.Globalization;
using System.Text.Json.Nodes;
using TpServe.Gateway.Reports.Statistics;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>One kind of time: mean, median and percentiles in milliseconds.</summary>
/// <param name="Name">ttft, tpot, itl, e2el.</param>
/// <param name="Title">In words.</param>
/// <param name="Mean">Its mean.</param>
/// <param name="Median">Its median.</param>
/// <param name="Percentiles">What was asked for, in that order.</param>
internal sealed record BenchTime(string Name, string Title, double Mean, double Median, IReadOnlyList<(double P, double Value)> Percentiles);

/// <summary>From records to figures. Pure.</summary>
internal sealed class BenchFigures
{
    private const int LabelWidth = 42;

    private readonly BenchOrder _order;

    /// <param name="order">What was asked.</param>
    /// <param name="records">What came of it; at least one.</param>
    /// <param name="seconds">From the first request to the end of the last.</param>
    public BenchFigures(BenchOrder order, IReadOnlyList<BenchRecord> records, double seconds)
    {
        (_order, Seconds) = (order, seconds);
        BenchRecord[] complete = [.. records.Where(record => record.IsComplete)];
        Completed = complete.Length;
        Failures = [.. records.Where(record => !record.IsComplete).GroupBy(record => record.Failure ?? "an empty answer").OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).Select(group => (group.Key, group.Count()))];
        InputTokens = complete.Sum(record => (long)record.InputTokens);
        OutputTokens = complete.Sum(record => (long)record.OutputTokens);
        Good = complete.Count(IsGood);
        PeakConcurrency = PeakOf(records);
        Times =
        [
            .. new[]
            {
                TimeOf("ttft", "Time to first token", complete.Select(record => record.Ttft)),
                TimeOf("tpot", "Time per output token after the first", complete.Where(record => record.Tpot is not null).Select(record => record.Tpot!.Value)),
                TimeOf("itl", "Inter-token latency", complete.SelectMany(record => record.Pieces.Zip(record.Pieces.Skip(1), (one, next) => next - one))),
                TimeOf("e2el", "End-to-end latency", complete.Select(record => record.E2el)),
            }.OfType<BenchTime>(),
        ];
    }

    public double Seconds { get; }

    public int Completed { get; }

    /// <summary>Requests that kept every bound of --goodput.</summary>
    public int Good { get; }

    public long InputTokens { get; }

    public long OutputTokens { get; }

    /// <summary>Most requests under way at once.</summary>
    public int PeakConcurrency { get; }

    /// <summary>Reasons and how often, the most frequent first.</summary>
    public IReadOnlyList<(string Reason, int Count)> Failures { get; }

    /// <summary>Those that were measured.</summary>
    public IReadOnlyList<BenchTime> Times { get; }

    /// <summary>As lines for people.</summary>
    public IEnumerable<string> Lines()
    {
        yield return Line("Requests answered", Completed, "");
        foreach ((string reason, int count) in Failures)
            yield return Line("Requests failed: " + reason, count, "");
        yield return Line("Duration", Seconds, "s");
        yield return Line("Input tokens", InputTokens, "");
        yield return Line("Output tokens", OutputTokens, "");
        yield return Line("Requests at once, at most", PeakConcurrency, "");
        yield return Line("Request throughput", Completed / Seconds, "/s");
        if (_order.Goodput.IsAsked)
            yield return Line("Request goodput", Good / Seconds, string.Create(CultureInfo.InvariantCulture, $"/s ({Good} of {Completed + Failures.Sum(one => one.Count)} requests)"));
        yield return Line("Output token throughput", OutputTokens / Seconds, "/s");
        yield return Line("Total token throughput", (InputTokens + OutputTokens) / Seconds, "/s");
        foreach (BenchTime time in Times)
        {
            yield return $"{time.Title} ({time.Name.ToUpperInvariant()})";
            yield return Line("  mean", time.Mean, "ms");
            yield return Line("  median", time.Median, "ms");
            foreach ((double p, double value) in time.Percentiles)
                yield return Line(string.Create(CultureInfo.InvariantCulture, $"  p{p}"), value, "ms");
        }
    }

    /// <summary>As JSON, in the names of vLLM's `bench serve`.</summary>
    /// <param name="target">Whom.</param>
    /// <param name="date">When.</param>
    public JsonObject ToJson(string target, DateTimeOffset date)
    {
        JsonObject json = new()
        {
            ["date"] = date.ToString("O", CultureInfo.InvariantCulture),
            ["target"] = target,
            ["num_prompts"] = _order.Prompts,
            ["request_rate"] = double.IsPositiveInfinity(_order.Rate) ? "inf" : _order.Rate,
            ["burstiness"] = _order.Burstiness,
            ["max_concurrency"] = _order.Concurrency,
            ["seed"] = _order.Seed,
            ["duration"] = Seconds,
            ["completed"] = Completed,
            ["failed"] = Failures.Sum(one => one.Count),
            ["failures"] = new JsonObject(Failures.Select(one => KeyValuePair.Create<string, JsonNode?>(one.Reason, one.Count))),
            ["total_input_tokens"] = InputTokens,
            ["total_output_tokens"] = OutputTokens,
            ["max_concurrent_requests"] = PeakConcurrency,
            ["request_throughput"] = Completed / Seconds,
            ["request_goodput"] = _order.Goodput.IsAsked ? Good / Seconds : null,
            ["output_throughput"] = OutputTokens / Seconds,
            ["total_token_throughput"] = (InputTokens + OutputTokens) / Seconds,
        };
        foreach (BenchTime time in Times)
        {
            json[$"mean_{time.Name}_ms"] = time.Mean;
            json[$"median_{time.Name}_ms"] = time.Median;
            foreach ((double p, double value) in time.Percentiles)
                json[string.Create(CultureInfo.InvariantCulture, $"p{p}_{time.Name}_ms")] = value;
        }
        return json;
    }

    private bool IsGood(BenchRecord record) =>
        Keeps(record.Ttft, _order.Goodput.Ttft) && Keeps(record.Tpot ?? 0, _order.Goodput.Tpot) && Keeps(record.E2el, _order.Goodput.E2el);

    private static bool Keeps(double seconds, double? milliseconds) => milliseconds is null || seconds * 1e3 <= milliseconds;

    private BenchTime? TimeOf(string name, string title, IEnumerable<double> seconds)
    {
        double[] ascending = [.. seconds.Select(value => 1e3 * value).Order()];
        return ascending.Length == 0 ? null : new BenchTime(
            name, title, ascending.Average(), Distribution.Quantile(ascending, 0.5), [.. _order.Percentiles.Select(p => (p, Distribution.Quantile(ascending, p / 100)))]);
    }

    private static int PeakOf(IReadOnlyList<BenchRecord> records)
    {
        int now = 0, peak = 0;
        // At the same moment an end comes before a beginning.
        foreach ((_, int change) in records.SelectMany(record => new[] { (record.Sent, 1), (record.Pieces.Count > 0 ? record.Pieces[^1] : record.Sent, -1) }).OrderBy(one => one.Item1).ThenBy(one => one.Item2))
            peak = Math.Max(peak, now += change);
        return Math.Max(peak, 1);
    }

    private static string Line(string label, double value, string unit) =>
        string.Create(CultureInfo.InvariantCulture, $"{label + ' ',-LabelWidth}{value,12:#,##0.00} {unit}").TrimEnd();

    private static string Line(string label, long value, string unit) =>
        string.Create(CultureInfo.InvariantCulture, $"{label + ' ',-LabelWidth}{value,12:#,##0} {unit}").TrimEnd();
}
