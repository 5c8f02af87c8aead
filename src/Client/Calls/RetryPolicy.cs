namespace TpServe.Client.Calls;

/// <summary>How long a call waits before it is tried again.</summary>
/// <remarks>
/// Numerics wait before attempt k + 1 = what the server asks for + u · min(MaxBackoff, FirstBackoff · 2^(k-1)), u uniform in [0, 1), so that clients
/// that were refused together do not come back together.
/// </remarks>
internal sealed class RetryPolicy(TpServeClientOptions options, TimeProvider time, Random random)
{
    private const int MostDoublings = 20;
    private readonly Lock _gate = new();

    /// <summary>Waits for the next attempt; false where there is none: the server asks for too much, or the deadline comes first.</summary>
    /// <param name="failure">Why the last attempt failed.</param>
    /// <param name="failed">How many attempts have failed since something came, 1 or more.</param>
    /// <param name="deadline">When the call must have ended, UTC.</param>
    /// <param name="cancellation">Ends the wait.</param>
    public async ValueTask<bool> WaitAsync(TpServeException failure, int failed, DateTime? deadline, CancellationToken cancellation)
    {
        if (failure.RetryAfter > options.MaxRetryAfter)
            return false;
        TimeSpan wait = (failure.RetryAfter ?? TimeSpan.Zero) + Backoff(failed);
        if (deadline is { } end && time.GetUtcNow().UtcDateTime + wait >= end)
            return false;
        await Task.Delay(wait, time, cancellation).ConfigureAwait(false);
        return true;
    }

    private TimeSpan Backoff(int failed)
    {
        double bound = Math.Min(options.MaxBackoff.TotalSeconds, options.FirstBackoff.TotalSeconds * Math.Pow(2, Math.Min(failed - 1, MostDoublings)));
        lock (_gate)
            return TimeSpan.FromSeconds(bound * random.NextDouble());
    }
}
