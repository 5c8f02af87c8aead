using System.Diagnostics;
using System.Globalization;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>What was seen while so many streams ran.</summary>
/// <param name="Streams">At once.</param>
/// <param name="Begin">Of the window, in seconds of the clock of <see cref="ServerClient.Now"/>.</param>
/// <param name="End">Of the window.</param>
/// <param name="Requests">All of them, also those that were cut off at the end.</param>
/// <param name="Before">The group when the window began.</param>
/// <param name="After">The group when it ended.</param>
/// <param name="CpuSeconds">Processor time of gateway and workers in the window; null where it is not to be had.</param>
internal sealed record LoadSample(
    int Streams, double Begin, double End, IReadOnlyList<RequestTimes> Requests, GetTopologyResponse Before, GetTopologyResponse After, double? CpuSeconds);

/// <summary>Runs streams that each send their next request when the last one has ended, and looks for a while.</summary>
internal static class LoadRun
{
    private static readonly TimeSpan s_rampLimit = TimeSpan.FromMinutes(3);

    /// <summary>1. starts the streams, 2. waits until each has a token, 3. looks at all clocks, waits, looks again, 4. cuts the streams off.</summary>
    /// <exception cref="MeasurementException">The streams did not all begin in time, or the group was lost meanwhile.</exception>
    public static async Task<LoadSample> RunAsync(
        ServerClient client, IReadOnlyList<int> processes, IReadOnlyList<ReportPrompt> prompts, int tokens, int streams, TimeSpan window, CancellationToken cancellation)
    {
        // 1. Stream s begins with prompt s and a shorter answer the smaller s is, so that streams do not go on in step with one another: a window sees what it would see later.
        using CancellationTokenSource cut = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        TaskCompletionSource ramped = new(TaskCreationOptions.RunContinuationsAsynchronously);
        int begun = 0;
        List<RequestTimes>[] requests = [.. Enumerable.Range(0, streams).Select(_ => new List<RequestTimes>())];
        Task all = Task.WhenAll(Enumerable.Range(0, streams).Select(StreamAsync));
        try
        {
            // 2.
            if (await Task.WhenAny(ramped.Task, all, Task.Delay(s_rampLimit, cancellation)) != ramped.Task)
            {
                cancellation.ThrowIfCancellationRequested();
                if (all.IsFaulted)
                    await all;
                throw new MeasurementException(string.Create(CultureInfo.InvariantCulture, $"{streams} streams had not all begun after {s_rampLimit.TotalMinutes:0} minutes."));
            }

            // 3.
            GetTopologyResponse before = await client.TopologyAsync(cancellation);
            double? cpuBefore = CpuSeconds(processes);
            double begin = ServerClient.Now();
            if (await Task.WhenAny(all, Task.Delay(window, cancellation)) == all)
                await all;
            cancellation.ThrowIfCancellationRequested();
            GetTopologyResponse after = await client.TopologyAsync(cancellation);
            double? cpuAfter = CpuSeconds(processes);
            double end = ServerClient.Now();
            if (after.Epoch != before.Epoch || after.State != GroupState.Ready)
                throw new MeasurementException("a worker was lost in the middle of the measurement.");

            // 4.
            await cut.CancelAsync();
            await all;
            return new LoadSample(streams, begin, end, [.. requests.SelectMany(one => one)], before, after, cpuAfter - cpuBefore);
        }
        finally
        {
            await cut.CancelAsync();
            await all.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        async Task StreamAsync(int stream)
        {
            try
            {
                for (int i = stream; ; i++)
                {
                    RequestTimes times = new(ServerClient.Now());
                    requests[stream].Add(times);
                    int length = i == stream ? Math.Max(1, tokens * (stream + 1) / streams) : tokens;
                    await client.StreamAsync(prompts[i % prompts.Count].Text, length, times, () =>
                    {
                        if (times.Tokens.Count == 1 && requests[stream].Count == 1 && Interlocked.Increment(ref begun) == streams)
                            ramped.TrySetResult();
                    }, cut.Token);
                }
            }
            catch (OperationCanceledException) when (cut.IsCancellationRequested)
            {
                // Its times until then are what is wanted.
            }
        }
    }

    /// <summary>Processor time that processes of this host have used; null where one is not to be seen.</summary>
    public static double? CpuSeconds(IReadOnlyList<int> processes)
    {
        double seconds = 0;
        foreach (int id in processes)
            try
            {
                using Process process = Process.GetProcessById(id);
                seconds += process.TotalProcessorTime.TotalSeconds;
            }
            catch (Exception fault) when (fault is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
            {
                return null; // it has ended, or is another user's
            }
        return processes.Count > 0 ? seconds : null;
    }

    /// <summary>Most memory that a process of this host has had resident; null where it is not to be seen.</summary>
    public static long? PeakBytes(int id)
    {
        try
        {
            using Process process = Process.GetProcessById(id);
            return process.PeakWorkingSet64 is > 0 and long bytes ? bytes : null;
        }
        catch (Exception fault) when (fault is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
