using System.Diagnostics;
using NUnit.Framework;
using TpServe.Gateway.Reports.Measuring;

namespace TpServe.Gateway.Tests.Reports;

public sealed class StreamingReadTests
{
    /// <summary>A machine's memory gives between a tenth of a GB/s and a TB/s; what is outside was not read, or not timed.</summary>
    [TestCase(1)]
    [TestCase(3)]
    public void Measure_AnyThreads_IsARateThatMemoryHas(int threads)
    {
        long start = Stopwatch.GetTimestamp();
        Assert.That(StreamingRead.Measure(threads), Is.InRange(1e8, 1e12));
        Assert.That(Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(60)));
    }
}
