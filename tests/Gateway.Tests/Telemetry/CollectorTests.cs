using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NUnit.Framework;
using TpServe.Gateway.Tests.Api;

namespace TpServe.Gateway.Tests.Telemetry;

/// <summary>What a collector gets over OTLP where the environment names one, and that nothing is traced where it does not.</summary>
[NonParallelizable] // whoever listens to spans hears every server of the process
public sealed class CollectorTests
{
    [Test, CancelAfter(30_000)]
    public async Task Collector_NamedByTheEnvironment_GetsTracesWithoutContentAndMetrics(CancellationToken cancellation)
    {
        ConcurrentDictionary<string, string> received = new();
        await using WebApplication collector = await CollectAsync(received);
        string address = collector.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        Dictionary<string, string?> environment = new()
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = address,
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "100",
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "200",
        };
        await using (ApiFixture api = await ApiFixture.StartAsync(says: "zebrafink", adjust: builder => builder.Configuration.AddInMemoryCollection(environment)))
        {
            await api.PostAsync("/v1/completions", """{"prompt":"zebrafink"}""");
            Assert.That(() => received.Keys, Is.SupersetOf(new[] { "/v1/traces", "/v1/metrics" }).After(20_000, 50));
        }
        cancellation.ThrowIfCancellationRequested();
        Assert.That(received["/v1/traces"], Does.Contain("generate_content test-model").And.Contain("POST /v1/completions").And.Contain("gen_ai.usage.output_tokens").And.Contain("rank 1"));
        Assert.That(received["/v1/metrics"], Does.Contain("tpserve.time_to_first_token").And.Contain("tpserve.rank_time"));
        Assert.That(received.Values, Has.None.Contains("zebrafink"));
    }

    [Test]
    public async Task Collector_NotNamed_NothingIsTraced()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        Assert.That(api.Service<IServiceProvider>().GetService<OpenTelemetry.Trace.TracerProvider>(), Is.Null);
    }

    private static async Task<WebApplication> CollectAsync(ConcurrentDictionary<string, string> received)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        WebApplication app = builder.Build();
        app.Run(async http =>
        {
            using MemoryStream body = new();
            await http.Request.Body.CopyToAsync(body);
            received.AddOrUpdate(http.Request.Path, _ => Encoding.Latin1.GetString(body.ToArray()), (_, before) => before + Encoding.Latin1.GetString(body.ToArray()));
            http.Response.ContentType = "application/x-protobuf";
        });
        await app.StartAsync();
        return app;
    }
}
