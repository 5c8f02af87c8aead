using System.Runtime.InteropServices;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Commands;

/// <summary>What SIGTERM and Ctrl-C do: the first lets requests in flight end, for a while, and refuses new ones; the second ends the server at once.</summary>
/// <remarks>Threads   signals come on threads of the runtime; stopping twice is stopping once.</remarks>
internal sealed partial class DrainingLifetime(
    InferenceEngine engine, IHostApplicationLifetime application, TimeSpan drainTimeout, ILogger<DrainingLifetime> log) : IHostLifetime, IDisposable
{
    private readonly List<PosixSignalRegistration> _signals = [];
    private int _asked;

    /// <inheritdoc/>
    public Task WaitForStartAsync(CancellationToken cancellationToken)
    {
        foreach (PosixSignal signal in new[] { PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGQUIT })
            _signals.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true; // the process ends when the host has
                Stop();
            }));
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Begins to drain, or ends at once where it drains already.</summary>
    public void Stop()
    {
        if (Interlocked.Increment(ref _asked) > 1)
            application.StopApplication();
        else
            _ = DrainAsync();
    }

    /// <inheritdoc/>
    public void Dispose() => _signals.ForEach(signal => signal.Dispose());

    private async Task DrainAsync()
    {
        int inFlight = engine.Load().RunningSequences + engine.Load().WaitingSequences;
        if (inFlight > 0)
            LogDraining(inFlight, drainTimeout.TotalSeconds);
        using CancellationTokenSource deadline = new(drainTimeout);
        int left = await engine.DrainAsync(deadline.Token);
        if (left > 0)
            LogCutOff(left, drainTimeout.TotalSeconds);
        application.StopApplication();
    }

    [LoggerMessage(1050, LogLevel.Information, "Asked to stop: {Sequences} sequences in flight may end within {Seconds:0.#} s; ask again to stop at once")]
    private partial void LogDraining(int sequences, double seconds);

    [LoggerMessage(1051, LogLevel.Warning, "Stopping: {Requests} requests did not end within {Seconds:0.#} s")]
    private partial void LogCutOff(int requests, double seconds);
}
