namespace TpServe.Gateway.Workers;

/// <summary>Finds the workers that have stopped answering.</summary>
/// <remarks>
/// The end of a step is a sign of life of every worker. Where none has come for as long as <see cref="GroupPolicy.SuspectAfter"/> or 20 times what the last steps took (their p99),
/// whichever is longer, every worker is pinged, twice with a second's time: one that answers neither is frozen, or its host is cut off. Pings decide, not steps: a step may
/// take as long as it takes where all answer. So a long p99 buys little, and waits no longer than <see cref="LatestSuspicion"/>: at the defaults a frozen worker is found within 5 s.
/// It goes on while nothing runs and while workers load: what is lost is better lost before somebody asks.
/// Threads  any.
/// </remarks>
internal sealed class Heartbeat(GroupPolicy policy, TimeProvider time)
{
    /// <summary>The p99 of the steps delays a suspicion no longer than this.</summary>
    public static readonly TimeSpan LatestSuspicion = TimeSpan.FromSeconds(2.5);

    private const int StepsOfPatience = 20;
    private static readonly TimeSpan s_pingTimeout = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly StepTimes _times = new();
    private long _lastSign = time.GetTimestamp();

    /// <summary>How long nothing may be heard.</summary>
    public TimeSpan Patience
    {
        get
        {
            lock (_gate)
            {
                TimeSpan bySteps = StepsOfPatience * _times.P99;
                bySteps = bySteps < LatestSuspicion ? bySteps : LatestSuspicion;
                return policy.SuspectAfter > bySteps ? policy.SuspectAfter : bySteps;
            }
        }
    }

    /// <summary>A step has ended on every worker.</summary>
    public void StepEnded(TimeSpan took)
    {
        lock (_gate)
        {
            _times.Add(took);
            _lastSign = time.GetTimestamp();
        }
    }

    /// <summary>Watches until some of the workers do not answer: which.</summary>
    public async Task<IReadOnlyList<HeldWorker>> FindSilentAsync(IReadOnlyList<HeldWorker> workers, CancellationToken cancellation)
    {
        while (true)
        {
            TimeSpan quiet;
            lock (_gate)
                quiet = time.GetElapsedTime(_lastSign);
            TimeSpan patience = Patience;
            if (quiet < patience)
            {
                await Task.Delay(patience - quiet, time, cancellation);
                continue;
            }
            if (await SilentNowAsync(workers, cancellation) is { Count: > 0 } silent)
                return silent;
            lock (_gate)
                _lastSign = time.GetTimestamp();
        }
    }

    /// <summary>Pings every worker; those that do not answer.</summary>
    public static async Task<IReadOnlyList<HeldWorker>> SilentNowAsync(IReadOnlyList<HeldWorker> workers, CancellationToken cancellation)
    {
        bool[] answered = await Task.WhenAll(workers.Select(async worker =>
            await worker.Link.PingAsync(s_pingTimeout, cancellation) || await worker.Link.PingAsync(s_pingTimeout, cancellation)));
        return [.. workers.Where((_, i) => !answered[i])];
    }
}
