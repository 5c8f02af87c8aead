using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api;

/// <summary>Runs the engine's loop while the host lives. When the host begins to stop, requests in flight end at once, so that nothing holds it up.</summary>
internal sealed class EngineService(InferenceEngine engine, IHostApplicationLifetime lifetime) : BackgroundService
{
    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await using CancellationTokenRegistration stop = lifetime.ApplicationStopping.Register(engine.Stop);
        await engine.RunAsync(stoppingToken);
    }
}
