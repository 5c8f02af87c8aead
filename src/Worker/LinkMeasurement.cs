using System.Diagnostics;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>Times the path between two ranks by what goes over it later: exchanges of next to nothing, of a small and of a large message.</summary>
/// <remarks>Threads  the rank's thread; both ranks run it, and run the same operations.</remarks>
internal static class LinkMeasurement
{
    /// <summary>Bytes of a small message, up to which the planner counts with the small rate.</summary>
    private const int SmallBytes = 64 << 10;

    private const int LargeBytes = 4 << 20, TinyBytes = 64, WarmUps = 8, TinyTimes = 200, SmallTimes = 50, LargeTimes = 6;

    /// <summary>Takes about 30 ms over shared memory.</summary>
    public static MeasureLinkReply Run(ICommunicator pair)
    {
        using HostBuffer memory = new(LargeBytes);
        double tiny = Time(pair, memory, TinyBytes, TinyTimes), small = Time(pair, memory, SmallBytes, SmallTimes), large = Time(pair, memory, LargeBytes, LargeTimes);
        return new MeasureLinkReply
        {
            LatencySeconds = tiny,
            SmallBytesPerSecond = SmallBytes / Math.Max(small - tiny, tiny / 100),
            LargeBytesPerSecond = (LargeBytes - SmallBytes) / Math.Max(large - small, small / 100),
        };
    }

    /// <summary>The median: what is hit by something else now and then does not count.</summary>
    private static double Time(ICommunicator pair, HostBuffer memory, int bytes, int times)
    {
        int floats = bytes / sizeof(float);
        Tensor x = new(memory, 0, 1, floats, floats, ElementType.Float32);
        double[] seconds = new double[times];
        for (int i = -WarmUps; i < times; i++)
        {
            long start = Stopwatch.GetTimestamp();
            pair.SumDisjoint(x);
            if (i >= 0)
                seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        Array.Sort(seconds);
        return seconds[times / 2];
    }
}
