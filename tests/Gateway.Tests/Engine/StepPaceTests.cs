using NUnit.Framework;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>Chunks follow what steps have taken.</summary>
public sealed class StepPaceTests
{
    [Test]
    public void LoneTokens_StepsAreSlow_StayWellBelowWhatAStepMayTake()
    {
        StepPace pace = new();
        Assert.That(pace.LoneTokens(TimeSpan.FromSeconds(120)), Is.EqualTo(int.MaxValue), "nothing is known");
        pace.Observe(singleRows: 0, catchUpTokens: 100, seconds: 70);
        Assert.That(pace.LoneTokens(TimeSpan.FromSeconds(120)), Is.InRange(42, 43), "30 s at 0.7 s a token");
        Assert.That(pace.LoneTokens(TimeSpan.FromSeconds(1)), Is.EqualTo(8), "never so few that the weights are read for nothing");
    }

    [Test]
    public void CatchUpTokens_BesideStreams_KeepAStepWithin2AndAHalfTimesOneThatDecodes()
    {
        StepPace pace = new();
        pace.Observe(singleRows: 4, catchUpTokens: 0, seconds: 0.010);
        pace.Observe(singleRows: 4, catchUpTokens: 50, seconds: 0.060);
        Assert.That(pace.CatchUpTokens, Is.EqualTo(15));
    }
}
