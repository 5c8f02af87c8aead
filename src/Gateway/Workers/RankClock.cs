using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Where a rank's time went, second by second, for the last minute.</summary>
/// <remarks>Threads  one adds; readers may see the second that is being added to.</remarks>
internal sealed class RankClock
{
    /// <summary>The windows that are told, in seconds.</summary>
    private static readonly int[] s_windows = [1, 10, 60];

    private readonly Second[] _seconds = new Second[64]; // more than the longest window and the second under way

    /// <summary>A step has ended in the given second of any clock that does not go back.</summary>
    public void Add(long second, StepResult result)
    {
        ref Second bucket = ref _seconds[second % _seconds.Length];
        if (bucket.Number != second)
            bucket = new Second { Number = second };
        bucket.Steps++;
        bucket.Compute += result.ComputeMicroseconds;
        bucket.Collective += result.CollectiveMicroseconds - result.WaitMicroseconds;
        bucket.Wait += result.WaitMicroseconds;
        bucket.Idle += result.IdleMicroseconds;
        if (result.Unanswered is not { } before)
            return;
        bucket.Steps += before.Steps;
        bucket.Compute += before.ComputeMicroseconds;
        bucket.Collective += before.CollectiveMicroseconds - before.WaitMicroseconds;
        bucket.Wait += before.WaitMicroseconds;
        bucket.Idle += before.IdleMicroseconds;
    }

    /// <summary>Sums over each window that ends with the last whole second.</summary>
    public IEnumerable<RankTimes> Recent(long second)
    {
        foreach (int window in s_windows)
        {
            RankTimes times = new() { WindowSeconds = window };
            foreach (Second bucket in _seconds)
                if (bucket.Steps > 0 && bucket.Number < second && bucket.Number >= second - window)
                {
                    times.Steps += bucket.Steps;
                    times.ComputeSeconds += bucket.Compute * 1e-6;
                    times.CollectiveSeconds += bucket.Collective * 1e-6;
                    times.WaitSeconds += bucket.Wait * 1e-6;
                    times.IdleSeconds += bucket.Idle * 1e-6;
                }
            yield return times;
        }
    }

    private struct Second
    {
        public long Number, Steps, Compute, Collective, Wait, Idle; // microseconds
    }
}

/// <summary>The seconds by which a group counts.</summary>
internal static class GroupSeconds
{
    /// <summary>Whole seconds of the clock's own origin; never go back.</summary>
    public static long Second(this TimeProvider time) => time.GetTimestamp() / time.TimestampFrequency;
}
