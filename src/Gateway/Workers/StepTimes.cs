namespace TpServe.Gateway.Workers;

/// <summary>How long the last steps took.</summary>
/// <remarks>Threads   the owner's lock.</remarks>
internal sealed class StepTimes
{
    private const int Kept = 256;

    private readonly long[] _ticks = new long[Kept];
    private int _count;

    /// <summary>What 99 of 100 of them did not exceed; zero where there were none.</summary>
    public TimeSpan P99
    {
        get
        {
            int held = Math.Min(_count, Kept);
            if (held == 0)
                return TimeSpan.Zero;
            long[] sorted = _ticks[..held];
            Array.Sort(sorted);
            return TimeSpan.FromTicks(sorted[(99 * held - 1) / 100]);
        }
    }

    /// <summary>One more.</summary>
    public void Add(TimeSpan step) => _ticks[_count++ % Kept] = step.Ticks;
}
