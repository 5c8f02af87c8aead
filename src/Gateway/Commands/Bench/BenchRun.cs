using System.Diagnostics;

namespace TpServe.Gateway.Commands.Bench;

/// <summary>Sends requests as they arrive and waits for them all.</summary>
internal static class BenchRun
{
    /// <summary>Seconds of the clock that all times are of.</summary>
    public static double Now() => Stopwatch.GetElapsedTime(0).TotalSeconds;

    /// <summary>1. each request waits for its arrival, 2. and for a place among those at once, 3. is sent; 4. all are waited for.</summary>
    /// <param name="target">Whom.</param>
    /// <param name="order">How.</param>
    /// <param name="requests">What.</param>
    /// <param name="done">Told of each that has ended.</param>
    /// <param name="cancellation">Ends it early; what is under way counts as cancelled.</param>
    /// <returns>One record a request that was sent, and how long it all took.</returns>
    public static async Task<(IReadOnlyList<BenchRecord> Records, double Seconds)> RunAsync(
        IBenchTarget target, BenchOrder order, IReadOnlyList<BenchRequest> requests, Action<BenchRecord> done, CancellationToken cancellation)
    {
        double[] arrivals = BenchWorkload.Arrivals(requests.Count, order.Rate, order.Burstiness, order.Seed);
        using SemaphoreSlim? places = order.Concurrency is { } most ? new SemaphoreSlim(most) : null;
        double begin = Now();
        BenchRecord?[] records = await Task.WhenAll(requests.Select((request, at) => OneAsync(request, begin + arrivals[at])));
        return ([.. records.OfType<BenchRecord>()], Now() - begin);

        async Task<BenchRecord?> OneAsync(BenchRequest request, double arrival)
        {
            try
            {
                // 1.
                TimeSpan wait = TimeSpan.FromSeconds(arrival - Now());
                if (wait > TimeSpan.Zero)
                    await Task.Delay(wait, cancellation);
                else
                    await Task.Yield();

                // 2.
                if (places is not null)
                    await places.WaitAsync(cancellation);
            }
            catch (OperationCanceledException)
            {
                return null;
            }

            // 3.
            BenchRecord record = new(Now());
            using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            deadline.CancelAfter(order.Timeout);
            try
            {
                await target.RunAsync(request, record, deadline.Token);
            }
            catch (OperationCanceledException)
            {
                record.Failure = cancellation.IsCancellationRequested ? "cancelled" : "timeout";
            }
            finally
            {
                places?.Release();
            }
            done(record);
            return record;
        }
    }
}
