using Microsoft.Extensions.Diagnostics.HealthChecks;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api;

/// <summary>Healthy while a new request would run at once: the group is ready and the server does not drain.</summary>
internal sealed class EngineHealthCheck(InferenceEngine engine) : IHealthCheck
{
    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(engine.IsReady ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("The worker group is not ready, or the server drains."));
}
