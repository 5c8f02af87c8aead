using Microsoft.Extensions.Diagnostics.HealthChecks;
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

/// <summary>Healthy while a new request would run at once: the group is ready and the server does not drain.</summary>
internal sealed class EngineHealthCheck(InferenceEngine engine) : IHealthCheck
{
    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(engine.IsReady ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("The worker group is not ready, or the server drains."));
}
