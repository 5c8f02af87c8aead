namespace TpServe.Gateway.Workers;

/// <summary>Counts losses and failed starts, and says when the group may be tried again. Knows nothing but the clock.</summary>
/// <remarks>
/// One loss is mended at once. What fails again and again is tried after pauses that double, and after <see cref="GroupPolicy.CrashLimit"/> failures within
/// <see cref="GroupPolicy.CrashWindow"/> the circuit opens: one attempt every <see cref="HalfOpenPause"/>, of which the first to succeed closes it and clears the count.
/// Threads  the group's life alone.
/// </remarks>
internal sealed class Circuit(GroupPolicy policy, TimeProvider time)
{
    /// <summary>Between attempts while the circuit is open.</summary>
    public static readonly TimeSpan HalfOpenPause = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(5);

    /// <summary>A group that served so long was sound: its loss begins a new row of failures.</summary>
    private static readonly TimeSpan s_soundAfter = TimeSpan.FromSeconds(30);

    private readonly Queue<long> _failures = new();
    private long? _readyAt;
    private int _inARow;

    /// <summary>Requests are to be refused.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>It will not close again.</summary>
    public bool IsFinal => IsOpen && policy.OnRankLoss == OnRankLoss.Fail;

    /// <summary>How long to wait before the next attempt.</summary>
    public TimeSpan Pause => IsOpen ? HalfOpenPause
        : _inARow <= 1 ? TimeSpan.Zero
        : TimeSpan.FromTicks(Math.Min(s_firstPause.Ticks << Math.Min(_inARow - 2, 16), s_longestPause.Ticks));

    /// <summary>The group was lost, or did not start.</summary>
    public void Failed()
    {
        long now = time.GetTimestamp();
        if (_readyAt is { } ready && time.GetElapsedTime(ready, now) >= s_soundAfter)
            _inARow = 0;
        _readyAt = null;
        _inARow++;
        _failures.Enqueue(now);
        while (time.GetElapsedTime(_failures.Peek(), now) > policy.CrashWindow)
            _failures.Dequeue();
        _inARow = Math.Min(_inARow, _failures.Count); // what does not count any more lengthens no pause
        if (policy.OnRankLoss == OnRankLoss.Fail || _failures.Count >= policy.CrashLimit)
            IsOpen = true;
    }

    /// <summary>The group is ready.</summary>
    public void Succeeded()
    {
        if (IsOpen)
        {
            _failures.Clear();
            _inARow = 0;
        }
        IsOpen = false;
        _readyAt = time.GetTimestamp();
    }
}
