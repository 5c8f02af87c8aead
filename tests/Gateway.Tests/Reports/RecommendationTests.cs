using NUnit.Framework;
using TpServe.Gateway.Reports;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

public sealed class RecommendationTests
{
    private static readonly ReportEquality s_same = new() { Compared = 1, Equal = 1, Values = 10 };

    [Test]
    public void Of_OneFastestInBoth_NamesItWithTheRunnersUpFigures() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400), SampleReport.Variant("tp 2", 2, 120, 500)], s_same),
        Is.EqualTo("Serve with --tp 2: 120.0 tokens/s for one stream against 100.0 with tp 1; 500.0 tokens/s for 32 streams against 400.0 with tp 1; outputs are the same to the bit."));

    [Test]
    public void Of_AnotherForEachUse_NamesBoth() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400), SampleReport.Variant("tp 2, partition 1,3", 2, 80, 500, partition: "1,3")], s_same),
        Does.StartWith("Serve with --tp 1 for the fastest single answers (100.0 tokens/s for one stream").And.Contain("--tp 2 --partition 1,3 for many at once (500.0 tokens/s for 32 streams against 400.0 with tp 1)"));

    [Test]
    public void Of_FastestAloneAndNoWorseForMany_IsOneForBoth() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 405), SampleReport.Variant("tp 2", 2, 120, 400)], s_same),
        Is.EqualTo("Serve with --tp 2: 120.0 tokens/s for one stream against 100.0 with tp 1; 400.0 tokens/s for 32 streams against 405.0 with tp 1, which is no sure difference; outputs are the same to the bit."));

    [Test]
    public void Of_LessThanChance_TakesTheFewestWorkersAndSaysSo() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 2", 2, 102, 408), SampleReport.Variant("tp 1", 1, 100, 400)], s_same),
        Does.StartWith("Serve with --tp 1: 100.0 tokens/s for one stream against 102.0 with tp 2, which is no sure difference"));

    [Test]
    public void Of_WideQuarters_AreChanceToo() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400, spread: 0.6), SampleReport.Variant("tp 2", 2, 115, 460, spread: 0.6)], s_same),
        Does.StartWith("Serve with --tp 1:"));

    [Test]
    public void Of_OutputsDiffer_WarnsFirstOfAll() => Assert.That(
        Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400), SampleReport.Variant("tp 2", 2, 120, 500)], new ReportEquality { Compared = 1, FirstDifference = "prompt 1, token 0: id 5 against 7" }),
        Does.Contain("outputs differ (prompt 1, token 0: id 5 against 7)").And.Not.Contain("same to the bit"));

    [Test]
    public void Of_AGroupThatRounds_IsNotRecommendedHoweverFast()
    {
        ReportVariant rounded = SampleReport.Variant("tp 2, wire q8", 2, 300, 900);
        rounded.Wire = "q8";
        Assert.That(Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400), SampleReport.Variant("tp 2", 2, 120, 500), rounded], s_same), Does.StartWith("Serve with --tp 2: 120.0 tokens/s"));
        Assert.That(Recommendation.Of([rounded], null), Does.StartWith("Only tp 2, wire q8 was measured"));
    }

    [Test]
    public void Of_BaselineAndFailures_AreNeverRecommended()
    {
        ReportVariant failed = new() { Name = "tp 3", Degree = 3, Fault = "no" };
        Assert.That(Recommendation.Of([SampleReport.Variant("tp 1", 1, 100, 400), SampleReport.Variant("tp 1, 1 thread", 1, 900, 900, baseline: true), failed], null),
            Is.EqualTo("Only tp 1 was measured: 100.0 tokens/s for one stream, 400.0 for 32."));
        Assert.That(Recommendation.Of([failed], null), Does.StartWith("Nothing was measured"));
    }
}
