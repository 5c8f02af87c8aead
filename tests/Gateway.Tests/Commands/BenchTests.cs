using System.Text.Json.Nodes;
using NUnit.Framework;
using TpServe.Gateway.Commands.Bench;
using TpServe.Gateway.Reports.Inputs;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>What a benchmark sends, when, and what it makes of what comes back: all of it pure.</summary>
public sealed class BenchTests
{
    private static readonly PromptPool s_ids = new([], [.. Enumerable.Range(100, 50)], 1);

    private static BenchOrder Order(Goodput? goodput = null, int prompts = 4) => new()
    {
        Prompts = prompts,
        Rate = double.PositiveInfinity,
        Burstiness = 1,
        Concurrency = null,
        Seed = 0,
        Timeout = TimeSpan.FromSeconds(10),
        Percentiles = [50, 99],
        Goodput = goodput ?? new Goodput(null, null, null),
    };

    private static BenchRecord Record(double sent, int input, int output, params double[] pieces)
    {
        BenchRecord record = new(sent) { InputTokens = input, OutputTokens = output };
        record.Pieces.AddRange(pieces);
        return record;
    }

    [TestCase(0.25)]
    [TestCase(1)]
    [TestCase(8)]
    public void Arrivals_AtARate_HaveItsMeanAndTheBurstinessAskedFor(double burstiness)
    {
        double[] times = BenchWorkload.Arrivals(20_001, rate: 50, burstiness, seed: 3);
        Assert.That(times, Is.Ordered);
        Assert.That((times[0], times[^1]), Is.EqualTo((0.0, 400.0)).Using<(double, double)>((one, other) => Math.Abs(one.Item1 - other.Item1) < 1e-9 && Math.Abs(one.Item2 - other.Item2) < 1e-6));
        // A gamma variable of shape k has variance mean² / k; the bound is five standard errors and some for heavy tails.
        double[] gaps = [.. times.Zip(times.Skip(1), (one, next) => next - one)];
        double mean = gaps.Average(), variance = gaps.Average(gap => (gap - mean) * (gap - mean));
        Assert.That(variance / (mean * mean) * burstiness, Is.EqualTo(1).Within(0.2));
        Assert.That(BenchWorkload.Arrivals(20_001, 50, burstiness, seed: 3), Is.EqualTo(times));
        Assert.That(BenchWorkload.Arrivals(20_001, 50, burstiness, seed: 4), Is.Not.EqualTo(times));
    }

    [Test]
    public void Arrivals_WithoutARate_AreAllAtOnce() => Assert.That(BenchWorkload.Arrivals(5, double.PositiveInfinity, 1, 0), Is.EqualTo(new double[5]));

    [Test]
    public void Random_Lengths_AreWithinTheRatioAndReachBothEnds()
    {
        IReadOnlyList<BenchRequest> requests = BenchWorkload.Random(s_ids, 500, 20, 10, 0.5, seed: 1);
        Assert.That((requests.Min(request => request.TokenIds.Count), requests.Max(request => request.TokenIds.Count)), Is.EqualTo((10, 30)));
        Assert.That((requests.Min(request => request.OutputTokens), requests.Max(request => request.OutputTokens)), Is.EqualTo((5, 15)));
        Assert.That(requests.SelectMany(request => request.TokenIds), Is.All.InRange(100, 149));
        Assert.That(BenchWorkload.Random(s_ids, 3, 20, 10, 0, 1).Select(request => (request.TokenIds.Count, request.OutputTokens)), Is.All.EqualTo((20, 10)));
        PromptPool words = new(["a", "b"], [], 2);
        Assert.That(BenchWorkload.Random(words, 1, 20, 10, 0, 1)[0].Prompt.Split(' '), Has.Length.EqualTo(10));
    }

    [Test]
    public void File_OfPrompts_IsReadInOrderAndAgain()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, "\"one\"\n\n{\"prompt\":\"two\",\"output_tokens\":3}\n");
            Assert.That(BenchWorkload.OfFile(path, 3, 7).Select(request => (request.Prompt, request.OutputTokens)), Is.EqualTo(new[] { ("one", 7), ("two", 3), ("one", 7) }));
            foreach ((string text, string reason) in new[] { ("x", "line 1"), ("{}", "no \"prompt\""), ("\"\"", "empty"), ("{\"prompt\":\"a\",\"output_tokens\":0}", "output_tokens"), ("", "no prompt") })
            {
                File.WriteAllText(path, text);
                Assert.That(() => BenchWorkload.OfFile(path, 1, 1), Throws.TypeOf<InputFileException>().With.Message.Contains(reason));
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Test]
    public void Figures_OfFourRequests_AreWhatAPersonComputes()
    {
        BenchRecord failed = Record(0, 9, 0);
        failed.Failure = "HTTP 503";
        BenchRecord[] records =
        [
            Record(0, 10, 3, 0.1, 0.2, 0.3), // ttft 100, tpot 100
            Record(0.5, 20, 5, 0.7, 0.8, 1.1), // ttft 200, tpot 100, in three pieces
            Record(1, 30, 1, 1.4), // ttft 400, no tpot
            failed,
        ];
        BenchFigures figures = new(Order(new Goodput(150, 120, null)), records, seconds: 2);
        Assert.That((figures.Completed, figures.Good, figures.InputTokens, figures.OutputTokens, figures.PeakConcurrency), Is.EqualTo((3, 1, 60L, 9L, 2)));
        Assert.That(figures.Failures, Is.EqualTo(new[] { ("HTTP 503", 1) }));
        JsonObject json = figures.ToJson("here", DateTimeOffset.UnixEpoch);
        Assert.That(json["mean_ttft_ms"]!.GetValue<double>(), Is.EqualTo(700 / 3.0).Within(1e-9));
        Assert.That(json["median_ttft_ms"]!.GetValue<double>(), Is.EqualTo(200).Within(1e-9));
        Assert.That(json["p99_ttft_ms"]!.GetValue<double>(), Is.EqualTo(396).Within(1e-9));
        Assert.That(json["mean_tpot_ms"]!.GetValue<double>(), Is.EqualTo(100).Within(1e-9));
        Assert.That(json["mean_itl_ms"]!.GetValue<double>(), Is.EqualTo(150).Within(1e-9)); // 100, 100, 100, 300
        Assert.That(json["median_e2el_ms"]!.GetValue<double>(), Is.EqualTo(400).Within(1e-9));
        Assert.That(json["request_throughput"]!.GetValue<double>(), Is.EqualTo(1.5));
        Assert.That(json["request_goodput"]!.GetValue<double>(), Is.EqualTo(0.5));
        Assert.That(json["output_throughput"]!.GetValue<double>(), Is.EqualTo(4.5));
        Assert.That(json["failures"]!["HTTP 503"]!.GetValue<int>(), Is.EqualTo(1));
        Assert.That(figures.Lines(), Has.Some.Contains("Requests failed: HTTP 503"));
    }

    [Test]
    public void Goodput_AsWritten_IsBoundsOrAFault()
    {
        Assert.That(Goodput.Parse(["ttft:500", "tpot:50.5"]), Is.EqualTo(new Goodput(500, 50.5, null)));
        foreach (string word in new[] { "ttft", "ttft:0", "ttft:x", "itl:5", "ttft:1:2" })
            Assert.That(() => Goodput.Parse([word]), Throws.TypeOf<FormatException>().With.Message.Contains(word));
    }

    [Test]
    public async Task Run_WithAPlaceForTwo_SendsNoMoreAtOnceAndCountsFailures()
    {
        using CountingTarget target = new();
        BenchOrder order = Order(prompts: 12) with { Concurrency = 2, Timeout = TimeSpan.FromSeconds(5) };
        (IReadOnlyList<BenchRecord> records, _) = await BenchRun.RunAsync(target, order, BenchWorkload.Random(s_ids, 12, 4, 4, 0, 0), _ => { }, CancellationToken.None);
        Assert.That((records.Count, target.Most), Is.EqualTo((12, 2)));
        using CancellationTokenSource early = new();
        await early.CancelAsync();
        (records, _) = await BenchRun.RunAsync(target, order with { Rate = 0.001 }, BenchWorkload.Random(s_ids, 12, 4, 4, 0, 0), _ => { }, early.Token);
        Assert.That(records.Count(record => record.Failure is null), Is.LessThanOrEqualTo(1));
    }

    /// <summary>Answers after a turn of everybody else's, and knows how many were there at once.</summary>
    private sealed class CountingTarget : IBenchTarget
    {
        private int _now;

        public int Most { get; private set; }

        public string Name => "none";

        public Task<PromptPool> PrepareAsync(CancellationToken cancellation) => Task.FromResult(s_ids);

        public async Task RunAsync(BenchRequest request, BenchRecord record, CancellationToken cancellation)
        {
            cancellation.ThrowIfCancellationRequested();
            Most = Math.Max(Most, Interlocked.Increment(ref _now));
            await Task.Delay(5, cancellation);
            record.Pieces.Add(BenchRun.Now());
            record.OutputTokens = 1;
            Interlocked.Decrement(ref _now);
        }

        public void Dispose()
        {
        }
    }
}
