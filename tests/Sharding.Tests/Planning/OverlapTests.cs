using NUnit.Framework;
using TpServe.Sharding.Planning;

namespace TpServe.Sharding.Tests.Planning;

/// <summary>When blocks of a prompt pay, by hand.</summary>
public sealed class OverlapTests
{
    // 2 s of compute and 1 s of sums over 40 layers' 80 sums, in steps of 512 rows: four blocks.
    private static PhasePrediction Prefill(double compute, double collective) => new("prefill",
    [
        new SegmentPrediction("attention", [new ComputeParts(9, 0, 0, 0)], 9, 0),
        new SegmentPrediction("mlp", [new ComputeParts(compute / 2, 0, 0, 0), new ComputeParts(compute, 0, 0, 0)], collective, 0),
    ]);

    private static LinkProfile Ring(double bytesPerSecond, double latency = 0) => new(LinkTransport.Ring, latency, bytesPerSecond, bytesPerSecond);

    [TestCase(2, 1, 125e6, 0, 0.65625, Description = "7/8 of the sums wait for the network, three of four blocks hide")]
    [TestCase(0.5, 1, 125e6, 0, 0.375, Description = "no more than there is to compute")]
    [TestCase(2, 1, 125e6, 1e-3, 0.65625 - 0.24, Description = "three further latencies for each of 80 sums")]
    [TestCase(2, 1, 2e9, 1e-3, -0.24, Description = "a fast link's time is the processors' own")]
    public void SavedSeconds_OverARing_IsWhatHidesLessWhatBlocksCost(double compute, double collective, double bytesPerSecond, double latency, double saved) =>
        Assert.That(Overlap.SavedSeconds(Prefill(compute, collective), Ring(bytesPerSecond, latency), rows: 512, sums: 80), Is.EqualTo(saved).Within(1e-12));

    [Test]
    public void SavedSeconds_SharedMemoryOrShortSteps_IsNothing()
    {
        Assert.That(Overlap.SavedSeconds(Prefill(2, 1), new LinkProfile(LinkTransport.SharedMemory, 0, 1e8, 1e8), 512, 80), Is.Zero);
        Assert.That(Overlap.SavedSeconds(Prefill(2, 1), Ring(1e8), 2 * Overlap.BlockRows - 1, 80), Is.Zero);
    }
}
