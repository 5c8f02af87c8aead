using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Tests.Engine;
using TpServe.Gateway.Workers;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>Which split is asked for, when, and when none is: over ranks of known speed, on a clock of the test's own.</summary>
public sealed class BalancePolicyTests
{
    private const double SecondsOfByte = 1e-10;

    private static readonly (ModelConfig Config, ShardWork Work) s_model = Open();

    private readonly ManualTime _time = new();
    private readonly BalanceLimits _limits = new();
    private BalancePolicy _policy = null!;
    private Partition _split = null!;
    private double[] _slowness = null!;
    private double[] _compute = null!;
    private double _served;
    private (int Rank, double Slice) _stolen;

    [SetUp]
    public void Begin()
    {
        _stolen = (-1, 0);
        _policy = new BalancePolicy(s_model.Config, s_model.Work, _limits, _time);
        Start(Partition.Even(s_model.Config, 2), 1, 1);
    }

    [Test]
    public void Observe_EvenRanks_AsksForNothing() => Assert.That(Serve(TimeSpan.FromMinutes(10)), Is.Null);

    [Test]
    public void Observe_OneRankTwiceAsSlow_AsksAfter30SecondsForTwoThirdsOfTheWork()
    {
        Start(_split, 1, 2);
        Assert.That(Serve(TimeSpan.FromSeconds(28)), Is.Null);
        BalanceFinding found = Serve(TimeSpan.FromSeconds(5))!;
        Assert.That((found.Rank, found.Before), Is.EqualTo((1, _split)));
        Assert.That(found.Reason, Does.Match(@"^rank 1 computes 1\.\d\d times as long as the others$"));
        double[] work = [.. Enumerable.Range(0, 2).Select(rank => s_model.Work.Of(new ShardPlan(s_model.Config, found.After, rank)))];
        Assert.That(work[0] / work.Sum(), Is.EqualTo(2 / 3.0).Within(0.02));
        double[] before = Times(_split, 1, 2), after = Times(found.After, 1, 2);
        Assert.That(found.Gain, Is.EqualTo((before.Max() - after.Max()) / (before.Max() * 1.1)).Within(0.01));
    }

    [Test]
    public void Observe_SlownessEnds_AsksForEvenSharesAgain()
    {
        Start(_split, 1, 2);
        Partition uneven = Serve(TimeSpan.FromSeconds(40))!.After;
        _policy.Moved();
        Start(uneven, 1, 1);
        Assert.That(Serve(_limits.Rest - TimeSpan.FromSeconds(2)), Is.Null, "no second move so soon");
        BalanceFinding back = Serve(TimeSpan.FromSeconds(10))!;
        Assert.That(back.Rank, Is.Zero);
        Assert.That(Times(back.After, 1, 1).Max(), Is.LessThanOrEqualTo(Times(_split = Partition.Even(s_model.Config, 2), 1, 1).Max()));
    }

    [Test]
    public void Observe_AfterALoss_DoesNotWaitForTheRest()
    {
        Start(_split, 1, 2);
        _policy.Moved();
        _policy.Begin(_split, afterLoss: true);
        Assert.That(Serve(TimeSpan.FromSeconds(40)), Is.Not.Null);
    }

    [TestCase(1.05)]
    [TestCase(1.09)]
    public void Observe_SkewWithinTheLimit_AsksForNothing(double slowness)
    {
        Partition level = BalanceSearch.Best(s_model.Config, s_model.Work, [1, 1], _split);
        Start(level, 1, slowness / 1.02); // whole units leave some unevenness of their own
        Assert.That(Serve(TimeSpan.FromMinutes(2)), Is.Null);
    }

    [Test]
    public void Observe_AnotherRankIsSlowInEachWindow_AsksForNothing()
    {
        for (int i = 0; i < 20; i++)
        {
            _slowness = i % 2 == 0 ? [1, 2] : [2, 1];
            Assert.That(Serve(TimeSpan.FromSeconds(11)), Is.Null);
        }
    }

    [Test]
    public void Observe_HardlyAnyLoad_DoesNotRepayTheMove()
    {
        Start(_split, 1, 2);
        _policy.Seconds = (5, 2);
        Assert.That(Serve(TimeSpan.FromHours(2), load: 0.01), Is.Null, "600 s at a hundredth of the load save less than two seconds");
        _policy.Begin(_split, afterLoss: false);
        Assert.That(Serve(TimeSpan.FromHours(2), load: 0.2), Is.Not.Null);
    }

    [TestCase(0.0002, true)]
    [TestCase(0.002, false)]
    public void Observe_AnotherProcessHasHalfOfTheCore_AsksOnlyWhereItTakesItForMoments(double slice, bool asks)
    {
        Start(_split, 1, 2);
        _stolen = (1, slice);
        Assert.That(Serve(TimeSpan.FromMinutes(3)) is not null, Is.EqualTo(asks));
    }

    [Test]
    public void Observe_NothingServed_AsksForNothing()
    {
        Start(_split, 1, 2);
        Assert.That(Serve(TimeSpan.FromHours(1), load: 0), Is.Null);
    }

    [TestCase(new[] { 1.0, 1, 3 })]
    [TestCase(new[] { 4.0, 1, 1 })]
    [TestCase(new[] { 1.0, 1, 1, 2 })]
    public void Observe_MoreRanks_LeavesNoneMuchSlowerThanTheOthers(double[] slowness)
    {
        Start(Partition.Even(s_model.Config, slowness.Length), slowness);
        BalanceFinding found = Serve(TimeSpan.FromMinutes(2))!;
        double[] after = Times(found.After, slowness);
        Assert.That(after.Max() / after.Average(), Is.LessThan(1.05));
    }

    [Test]
    public void Observe_RankThatOwnsNothing_IsTakenForAsFastAsTheOthers()
    {
        Start(Partition.Weighted(s_model.Config, [1, 0]), 1, 1);
        BalanceFinding found = Serve(TimeSpan.FromMinutes(1))!;
        Assert.That(Times(found.After, 1, 1).Max() / Times(found.After, 1, 1).Average(), Is.LessThan(1.05));
    }

    [Test]
    public void Observe_HostShortOfMemory_GivesAQuarterToHostsThatHaveRoom()
    {
        long floor = _limits.MemoryFloorBytes;
        BalanceFinding? found = null;
        for (int second = 0; second < 40 && found is null; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            found = _policy.Observe([new RankLoad(0, 0, 8L << 30), new RankLoad(0, 0, floor / 2)]);
        }
        Assert.That(found!.Rank, Is.EqualTo(1));
        Assert.That(found.Reason, Is.EqualTo("rank 1's host has 128 MiB of memory free"));
        double[] before = [.. Enumerable.Range(0, 2).Select(rank => s_model.Work.Of(new ShardPlan(s_model.Config, found.Before, rank)))];
        Assert.That(s_model.Work.Of(new ShardPlan(s_model.Config, found.After, 1)) / before[1], Is.EqualTo(0.75).Within(0.1));
        Assert.That(_policy.Observe([new RankLoad(0, 0, 8L << 30), new RankLoad(0, 0, floor / 2)]), Is.SameAs(found));
        Assert.That(_policy.Observe([new RankLoad(0, 0, 8L << 30), new RankLoad(0, 0, 2 * floor)]), Is.Null);
    }

    [Test]
    public void Observe_EveryHostShortOfMemory_AsksForNothing()
    {
        for (int second = 0; second < 100; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            Assert.That(_policy.Observe([new RankLoad(0, 0, 1 << 20), new RankLoad(0, 0, 2 << 20)]), Is.Null);
        }
    }

    [Test]
    public void Best_RandomSpeeds_IsNeverWorseThanTheProportionalSplit()
    {
        Random random = new(5);
        for (int round = 0; round < 20; round++)
        {
            double[] seconds = [.. Enumerable.Range(0, 2 + (round % 4)).Select(_ => 0.2 + random.NextDouble())];
            Partition present = Partition.Even(s_model.Config, seconds.Length), best = BalanceSearch.Best(s_model.Config, s_model.Work, seconds, present);
            Partition proportional = Partition.Weighted(s_model.Config, [.. seconds.Select(one => 1 / one)]);
            double Slowest(Partition split) => BalanceSearch.Seconds(s_model.Config, s_model.Work, seconds, split).Max();
            Assert.That(Slowest(best), Is.LessThanOrEqualTo(Slowest(proportional)).And.LessThanOrEqualTo(Slowest(present)));
            Assert.That(Slowest(best) / (s_model.Work.Of(new ShardPlan(s_model.Config, Partition.Even(s_model.Config, 1), 0)) / seconds.Sum(one => 1 / one)), Is.LessThan(1.1), "near what parts of any size would give");
            best.CheckAgainst(s_model.Config);
        }
    }

    private static (ModelConfig, ShardWork) Open()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        return (checkpoint.Config, new ShardWork(checkpoint.Config, checkpoint.Tensors.Values));
    }

    /// <summary>What each rank's arithmetic takes in a step.</summary>
    private static double[] Times(Partition split, params double[] slowness) =>
        [.. slowness.Select((slow, rank) => slow * SecondsOfByte * s_model.Work.Of(new ShardPlan(s_model.Config, split, rank)))];

    private void Start(Partition split, params double[] slowness)
    {
        (_split, _slowness, _compute, _served) = (split, slowness, new double[slowness.Length], 0);
        _policy.Begin(split, afterLoss: false);
    }

    /// <summary>Looks every second while steps run for a share of the time, until something is found. A tenth of a step's time is exchange.</summary>
    private BalanceFinding? Serve(TimeSpan howLong, double load = 1)
    {
        for (TimeSpan passed = TimeSpan.Zero; passed < howLong; passed += TimeSpan.FromSeconds(1))
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            double[] times = Times(_split, _slowness);
            _served += load;
            for (int rank = 0; rank < times.Length; rank++)
                _compute[rank] += load * times[rank] / (times.Max() * 1.1);
            RankLoad[] loads = [.. _compute.Select(compute => new RankLoad(compute, _served))];
            if (_stolen.Rank >= 0)
                loads[_stolen.Rank] = loads[_stolen.Rank] with { RanSeconds = _served / 2, StolenSeconds = _served / 2, StolenTimes = (long)(_served / 2 / _stolen.Slice) };
            if (_policy.Observe(loads) is { } found)
                return found;
        }
        return null;
    }
}
