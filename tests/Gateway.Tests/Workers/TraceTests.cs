using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using StepTrace = TpServe.Protos.Worker.StepTrace;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>Steps that are traced, the file made of them, and where a rank's last minute went.</summary>
public sealed class TraceTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    [Test]
    public async Task Trace_OfTheNextSteps_HasEachRanksSpansAndMarksNoFurtherPlan()
    {
        await using GroupFixture fixture = new();
        GroupLife life = await fixture.ReadyAsync();
        foreach (FakeStream stream in new[] { fixture.Workers[0].Stream!, fixture.Workers[1].Stream! })
            stream.Holds = true;
        Task<List<TracedStep>> traced = CollectAsync(fixture.Group, 2);
        for (long step = 1; step <= 3; step++)
        {
            StepPlan plan = new() { Epoch = life.Epoch, Step = step, Sequences = { new SequenceStep { Tokens = 5 }, new SequenceStep { Tokens = 1, DraftTokens = 2 } } };
            await fixture.Group.SendAsync(plan, CancellationToken.None);
            Assert.That(plan.Trace, Is.EqualTo(step <= 2));
            for (int rank = 0; rank < 2; rank++)
                fixture.Workers[rank].Stream!.Answer(new StepResult { Epoch = life.Epoch, Step = step, Trace = plan.Trace ? Trace(1000 * step + rank, 10 + rank) : null });
            await fixture.ReceiveAsync();
        }
        List<TracedStep> steps = await traced.WaitAsync(s_patience);
        Assert.That(steps.Select(step => (step.Step, step.Rows, step.Sequences)), Is.EqualTo(new[] { (1L, 8, 2), (2L, 8, 2) }));
        Assert.That(steps.SelectMany(step => step.Ranks).Select(rank => (rank.Rank, rank.StartNanoseconds, rank.Spans.Count)), Is.EqualTo(new[] { (0, 1000L, 1), (1, 1001L, 1), (0, 2000L, 1), (1, 2001L, 1) }));
    }

    [Test]
    public async Task Trace_WhileAnotherRuns_IsRefusedAndFreeAfterwards()
    {
        await using GroupFixture fixture = new();
        await fixture.ReadyAsync();
        using CancellationTokenSource leaves = new();
        Task<List<TracedStep>> first = CollectAsync(fixture.Group, 2, leaves.Token);
        RequestRejectedException refused = (await Assert.ThrowsAsync<RequestRejectedException>(() => CollectAsync(fixture.Group, 1)))!;
        Assert.That(refused.Reason, Is.EqualTo("TRACE_RUNNING"));
        await leaves.CancelAsync();
        await Assert.ThatAsync(() => first.WaitAsync(s_patience), Throws.InstanceOf<OperationCanceledException>());
        Task<List<TracedStep>> second = CollectAsync(fixture.Group, 1);
        fixture.Workers[1].Kill();
        Assert.That(await second.WaitAsync(s_patience), Is.Empty, "the epoch ended first");
    }

    [TestCase(-1)]
    [TestCase(1001)]
    public async Task Trace_OfTooManySteps_IsRefused(int steps)
    {
        await using GroupFixture fixture = new();
        RequestRejectedException refused = (await Assert.ThrowsAsync<RequestRejectedException>(() => CollectAsync(fixture.Group, steps)))!;
        Assert.That((refused.Field, refused.Value, refused.Limit), Is.EqualTo(("steps", $"{steps}", "1 to 1000")));
    }

    [Test]
    public void Shift_OfAnotherMachinesClock_IsTheMedianOfTheEndsOfExchanges()
    {
        StepTrace reference = Trace(5_000, 10, 20, 30), own = Trace(905_000, 10, 21, 530); // the last one ended late
        Assert.That(StepTracer.ShiftBetween(own, reference), Is.EqualTo(-900_001));
    }

    [Test]
    public void Perfetto_OfTwoRanks_NestsItsSpansAndTiesEachExchange()
    {
        TracedStep[] steps = [Step(1, 10_000, 9_000), Step(2, 30_000, 31_000)];
        using MemoryStream file = new();
        PerfettoTrace.Write(file, "a \"server\" <1>", steps);
        using JsonDocument json = JsonDocument.Parse(file.ToArray());
        JsonElement[] events = [.. json.RootElement.GetProperty("traceEvents").EnumerateArray()];
        Assert.That(Of("M").Select(e => (e.GetProperty("name").GetString(), e.GetProperty("args").GetProperty("name").GetString())), Is.EquivalentTo(new[]
        {
            ("process_name", "a \"server\" <1>"), ("thread_name", "rank 0"), ("thread_name", "rank 1"),
        }));
        Assert.That(Of("X").Min(e => e.GetProperty("ts").GetDecimal()), Is.Zero);

        // Of two spans of a track either one holds the other or they do not meet.
        foreach (IGrouping<int, JsonElement> track in Of("X").GroupBy(e => e.GetProperty("tid").GetInt32()))
            foreach ((decimal start, decimal end) in track.Select(Range))
                foreach ((decimal other, decimal otherEnd) in track.Select(Range))
                    Assert.That(end <= other || otherEnd <= start || (start <= other && otherEnd <= end) || (other <= start && end <= otherEnd));

        // Rank 1 waited least in each exchange: arrows go from it to rank 0, and both ends lie in a collective span of their track.
        Assert.That(Of("s"), Has.Length.EqualTo(4));
        foreach (JsonElement from in Of("s"))
        {
            JsonElement to = Of("f").Single(e => e.GetProperty("id").GetInt64() == from.GetProperty("id").GetInt64());
            Assert.That((from.GetProperty("tid").GetInt32(), to.GetProperty("tid").GetInt32(), to.GetProperty("bp").GetString()), Is.EqualTo((2, 1, "e")));
            foreach (JsonElement end in new[] { from, to })
                Assert.That(Of("X").Any(e => e.GetProperty("cat").GetString() == "collective" && e.GetProperty("tid").GetInt32() == end.GetProperty("tid").GetInt32()
                    && Range(e).Start <= end.GetProperty("ts").GetDecimal() && end.GetProperty("ts").GetDecimal() <= Range(e).End));
        }

        JsonElement[] Of(string phase) => [.. events.Where(e => e.GetProperty("ph").GetString() == phase)];
        static (decimal Start, decimal End) Range(JsonElement e) => (e.GetProperty("ts").GetDecimal(), e.GetProperty("ts").GetDecimal() + e.GetProperty("dur").GetDecimal());
        static TracedStep Step(long number, long rank0, long rank1) => new()
        {
            Epoch = 1,
            Step = number,
            Ranks = { Rank(0, rank0, wait: 300), Rank(1, rank1, wait: 20) },
        };
        static TracedRank Rank(int rank, long start, long wait) => new()
        {
            Rank = rank,
            StartNanoseconds = start,
            DurationNanoseconds = 5_000,
            Spans =
            {
                new TraceSpan { Name = "attention", Layer = 0, StartNanoseconds = 0, DurationNanoseconds = 2_000 },
                new TraceSpan { Name = "sum", Layer = 0, Collective = true, StartNanoseconds = 1_500, DurationNanoseconds = 500, WaitNanoseconds = wait },
                new TraceSpan { Name = "mlp", Layer = 0, StartNanoseconds = 2_000, DurationNanoseconds = 3_000 },
                new TraceSpan { Name = "sum", Layer = 0, Collective = true, StartNanoseconds = 4_000, DurationNanoseconds = 1_000, WaitNanoseconds = wait },
            },
        };
    }

    [Test]
    public void RankClock_StepsOfTwoMinutes_SumsTheLastWholeSeconds()
    {
        RankClock clock = new();
        for (long second = 0; second <= 120; second++)
            for (int step = 0; step < 2; step++)
                clock.Add(second, new StepResult { ComputeMicroseconds = 100_000, CollectiveMicroseconds = 50_000, WaitMicroseconds = 20_000, IdleMicroseconds = (int)second });
        Assert.That(clock.Recent(120).Select(times => (times.WindowSeconds, times.Steps, Milli(times.ComputeSeconds), Milli(times.CollectiveSeconds), Milli(times.WaitSeconds))), Is.EqualTo(new[]
        {
            (1, 2L, 200L, 60L, 40L), (10, 20L, 2_000L, 600L, 400L), (60, 120L, 12_000L, 3_600L, 2_400L),
        }));
        Assert.That(clock.Recent(120).First().IdleSeconds, Is.EqualTo(2 * 119e-6).Within(1e-12));
        Assert.That(clock.Recent(200).Select(times => times.Steps), Is.All.Zero, "nothing ran for more than a minute");

        static long Milli(double seconds) => (long)Math.Round(seconds * 1000);
    }

    private static async Task<List<TracedStep>> CollectAsync(IWorkerGroup group, int steps, CancellationToken cancellation = default)
    {
        List<TracedStep> traced = [];
        await foreach (TracedStep step in group.TraceAsync(steps, cancellation))
            traced.Add(step);
        return traced;
    }

    /// <summary>Collective spans that end so many nanoseconds after the step's beginning.</summary>
    private static StepTrace Trace(long start, params long[] ends) =>
        new() { StartNanoseconds = start, DurationNanoseconds = 100, Spans = { ends.Select(end => new TraceSpan { Collective = true, StartNanoseconds = end - 5, DurationNanoseconds = 5 }) } };
}
