using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using TpServe.Gateway.Api;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Telemetry;

/// <summary>OpenTelemetry as the server uses it.</summary>
internal static class TelemetryServices
{
    private const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"; // OpenTelemetry's own; the exporter reads it and its sisters itself

    /// <summary>Registers metrics for /metrics, and metrics and traces for a collector where the environment names one.</summary>
    public static IServiceCollection AddTpServeTelemetry(this IServiceCollection services, IConfiguration configuration)
    {
        bool collected = !string.IsNullOrEmpty(configuration[Endpoint]);
        services.AddMetrics();
        services.AddSingleton<ServingMetrics>();
        services.AddSingleton(provider => new LoadMetrics(
            provider.GetRequiredService<ServingMetrics>(), provider.GetRequiredService<InferenceEngine>().Load, provider.GetRequiredService<IWorkerGroup>()));
        OpenTelemetry.OpenTelemetryBuilder telemetry = services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("tpserve", serviceVersion: ServerClock.Version))
            .WithMetrics(metrics =>
            {
                metrics.AddMeter(ServingMetrics.MeterName);
                metrics.AddPrometheusExporter(prometheus =>
                {
                    prometheus.ScopeInfoEnabled = false; // one scope: a label on every line would say nothing
                    prometheus.TargetInfoEnabled = false;
                    prometheus.ScrapeResponseCacheDurationMilliseconds = 0; // whoever looks twice sees what happened between
                });
                if (collected)
                    metrics.AddOtlpExporter();
            });
        if (collected)
            telemetry.WithTracing(tracing => tracing.AddSource(RequestTrace.SourceName, "Microsoft.AspNetCore").AddOtlpExporter());
        return services;
    }
}
