using NUnit.Framework;
using TpServe.Gateway.Reports.Measuring;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

public sealed class LoadFiguresTests
{
    [Test]
    public void Of_TokensInAndAroundTheWindow_CountsThoseInside()
    {
        // A window from 10 to 14: a token every quarter of a second from 9 to 15, the first half of them of a request that was sent before.
        RequestTimes before = new(8) { PromptTokens = 30 }, within = new(11.5) { PromptTokens = 50 }, none = new(13.9);
        before.Tokens.AddRange(Enumerable.Range(0, 12).Select(i => 9 + (0.25 * i)));
        within.Tokens.AddRange(Enumerable.Range(0, 13).Select(i => 12 + (0.25 * i)));
        ReportLoad load = LoadFigures.Of(new LoadSample(2, 10, 14, [before, within, none], Topology((1, 1, 0, 1)), Topology((2, 1, 0, 1)), 3), resources: 2);
        Assert.That(load.TokensPerSecond, Is.EqualTo(4));
        Assert.That((load.LeastTokensPerSecond, load.MostTokensPerSecond), Is.EqualTo((4, 4)));
        Assert.That(load.PromptTokensPerSecond, Is.EqualTo(50 / 4.0), "of the request whose first token came inside");
        Assert.That((load.Ttft.Count, load.Ttft.P50), Is.EqualTo((1, 500)));
        Assert.That((load.Itl.Count, load.Itl.P99), Is.EqualTo((7 + 7, 250)));
        Assert.That(load.HeldSecondsPer1000Tokens, Is.EqualTo(2 * 4 * 1000 / 16.0));
        Assert.That(load.CpuSecondsPer1000Tokens, Is.EqualTo(3 * 1000 / 16.0));
    }

    [Test]
    public void Of_AQuarterWithoutTokens_IsTheSlowest()
    {
        RequestTimes request = new(0);
        request.Tokens.AddRange([0.1, 0.2, 1.1, 3.1]);
        ReportLoad load = LoadFigures.Of(new LoadSample(1, 0, 4, [request], Topology(), Topology(), null), resources: 1);
        Assert.That((load.LeastTokensPerSecond, load.MostTokensPerSecond), Is.EqualTo((0, 2)));
        Assert.That(load.HasCpuSecondsPer1000Tokens, Is.False);
    }

    [Test]
    public void Of_NoToken_LeavesOutWhatNeedsOne()
    {
        ReportLoad load = LoadFigures.Of(new LoadSample(1, 0, 4, [new RequestTimes(0)], Topology(), Topology(), 1), resources: 1);
        Assert.That((load.TokensPerSecond, load.Ttft, load.Itl, load.HasCpuSecondsPer1000Tokens), Is.EqualTo((0.0, (ReportQuantiles?)null, (ReportQuantiles?)null, false)));
    }

    [Test]
    public void RankTimes_TwoRanks_ExchangeIsWhatIsNotWaiting()
    {
        ReportRankTime[] ranks = [.. LoadFigures.RankTimes(Topology((1, 1, 0.5, 0), (2, 2, 0.25, 0)), Topology((4, 1.5, 0.5, 0.25), (4, 4, 1.75, 0.5)))];
        Assert.That(ranks.Select(rank => (rank.Rank, rank.Steps, rank.ComputeSeconds, rank.WaitSeconds, rank.ExchangeSeconds, rank.IdleSeconds)), Is.EqualTo(new[]
        {
            (0, 10L, 3.0, 0.0, 0.5, 0.25), (1, 10L, 2.0, 1.5, 0.5, 0.5),
        }));
    }

    [Test]
    public void Compare_ThreeGroups_TakesTheFewestResourcesAsOne()
    {
        ReportVariant one = SampleReport.Variant("tp 1", 1, 180, 600), two = SampleReport.Variant("tp 2", 2, 160, 660), single = SampleReport.Variant("tp 1, 1 thread", 1, 100, 400, baseline: true);
        single.Resources = 1;
        foreach (ReportLoad load in new[] { one, two, single }.SelectMany(variant => variant.Loads))
        {
            load.ClearSpeedUp();
            load.ClearEfficiency();
            load.ClearKarpFlatt();
            load.ClearAgainstOneWorker();
        }
        LoadFigures.Compare([one, two, single]);
        Assert.That((two.Loads[0].SpeedUp, two.Loads[0].Efficiency, two.Loads[0].KarpFlatt), Is.EqualTo((1.6, 0.8, 0.25)));
        Assert.That(two.Loads[0].AgainstOneWorker, Is.EqualTo(160 / 180.0));
        Assert.That((single.Loads[1].SpeedUp, single.Loads[1].HasKarpFlatt, single.Loads[1].HasAgainstOneWorker), Is.EqualTo((1, false, false)));
        Assert.That(one.Loads[1].HasAgainstOneWorker, Is.False);
    }

    [Test]
    public void Compare_OneGroup_SaysNothing()
    {
        ReportVariant one = SampleReport.Variant("tp 1", 1, 180, 600);
        one.Loads[0].ClearSpeedUp();
        LoadFigures.Compare([one, new ReportVariant { Name = "tp 2", Fault = "no" }]);
        Assert.That(one.Loads[0].HasSpeedUp, Is.False);
    }

    [Test]
    public void Merge_ThreeRounds_TakesTheMiddleWithTheOthersAsItsSpread()
    {
        ReportLoad[] rounds = [.. new[] { 300.0, 100, 200 }.Select(rate => new ReportLoad { Streams = 8, TokensPerSecond = rate, LeastTokensPerSecond = 1, MostTokensPerSecond = 999, PromptTokensPerSecond = rate / 10 })];
        ReportLoad merged = LoadFigures.Merge([.. rounds.Select(round => (IReadOnlyList<ReportLoad>)[round])]).Single();
        Assert.That((merged.Streams, merged.TokensPerSecond, merged.LeastTokensPerSecond, merged.MostTokensPerSecond, merged.PromptTokensPerSecond), Is.EqualTo((8, 200.0, 100.0, 300.0, 20.0)));
        Assert.That(LoadFigures.Merge([[rounds[0]]]).Single(), Is.SameAs(rounds[0]), "of one round nothing is changed");
    }

    [Test]
    public void RooflineShare_ByHand_IsAHalf() => Assert.That(LoadFigures.RooflineShare(100_000_000, 10, 2e10), Is.EqualTo(0.5));

    private static GetTopologyResponse Topology(params (double Compute, double Collective, double Wait, double Idle)[] ranks) => new()
    {
        Ranks = { ranks.Select((rank, i) => new RankInfo { Rank = i, Steps = rank.Compute >= 4 ? 15 : 5, ComputeSeconds = rank.Compute, CollectiveSeconds = rank.Collective, WaitSeconds = rank.Wait, IdleSeconds = rank.Idle }) },
    };
}
