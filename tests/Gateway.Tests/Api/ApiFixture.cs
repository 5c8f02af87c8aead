using System.Net;
using System.Text;
using System.Text.Json;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Telemetry;
using TpServe.Gateway.Tests.Engine;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>The whole API on real sockets, over the fake group.</summary>
internal sealed class ApiFixture : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly GrpcChannel _channel;

    private ApiFixture(WebApplication app, FakeWorkerGroup group)
    {
        _app = app;
        Group = group;
        string[] addresses = [.. app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses];
        Http = new HttpClient { BaseAddress = new Uri(addresses[0]), Timeout = TimeSpan.FromSeconds(30) };
        _channel = GrpcChannel.ForAddress(addresses[1]);
        Inference = new Inference.InferenceClient(_channel);
        Control = new Control.ControlClient(_channel);
    }

    public static ServingSettings Settings { get; } = new()
    {
        MaxModelLen = 128,
        MaxStepTokens = 32,
        ChunkTokens = 8,
        MaxSequences = 16,
        QueueLimit = 4,
        RetryAfter = TimeSpan.FromSeconds(2),
    };

    public FakeWorkerGroup Group { get; }

    public HttpClient Http { get; }

    public GrpcChannel Channel => _channel;

    public Inference.InferenceClient Inference { get; }

    public Control.ControlClient Control { get; }

    public InferenceEngine Engine => _app.Services.GetRequiredService<InferenceEngine>();

    /// <summary>Every HTTP route that has a method of its own; gRPC's are not among them.</summary>
    public IEnumerable<RoutePattern> Routes => _app.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
        .Where(route => route.RoutePattern.RawText != "/metrics" && route.Metadata.GetMetadata<Grpc.AspNetCore.Server.GrpcMethodMetadata>() is null && route.Metadata.GetMetadata<IHttpMethodMetadata>() is not null && !route.RoutePattern.RawText!.Contains("unimplemented", StringComparison.OrdinalIgnoreCase) && route.RoutePattern.ParameterPolicies.Count == 0)
        .Select(route => route.RoutePattern);

    /// <summary>Everything that is mapped, rpcs among it.</summary>
    public IReadOnlyList<Endpoint> Endpoints => _app.Services.GetRequiredService<EndpointDataSource>().Endpoints;

    /// <summary>Where HTTP/2 is spoken.</summary>
    public Uri GrpcAddress => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Last());

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public Task StopAsync() => _app.StopAsync();

    public static async Task<ApiFixture> StartAsync(
        string says = "Hello!", FakeWorkerGroup? group = null, ServingSettings? settings = null, ServingModel? model = null, bool start = true, Action<WebApplicationBuilder>? adjust = null)
    {
        group ??= new FakeWorkerGroup { NextToken = FakeWorkerGroup.Says(says) };
        if (start)
            group.Start();
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddSimpleConsole().SetMinimumLevel(LogLevel.Error);
        adjust?.Invoke(builder);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddSingleton<IWorkerGroup>(group);
        builder.Services.AddTpServeTelemetry(builder.Configuration);
        builder.Services.AddTpServeApi(model ?? TestModel.Model(), settings ?? Settings);
        WebApplication app = builder.Build();
        app.MapTpServeApi();
        await app.StartAsync();
        return new ApiFixture(app, group);
    }

    /// <summary>Posts JSON; status and body.</summary>
    public async Task<(HttpStatusCode Status, JsonElement Body)> PostAsync(string path, string json)
    {
        using HttpResponseMessage response = await SendAsync(path, json);
        return (response.StatusCode, await BodyAsync(response));
    }

    public Task<HttpResponseMessage> SendAsync(string path, string json, CancellationToken cancellation = default) => Http.SendAsync(
        new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") },
        HttpCompletionOption.ResponseHeadersRead, cancellation);

    public async Task<JsonElement> GetAsync(string path)
    {
        using HttpResponseMessage response = await Http.GetAsync(path);
        return await BodyAsync(response);
    }

    public static async Task<JsonElement> BodyAsync(HttpResponseMessage response)
    {
        string text = await response.Content.ReadAsStringAsync();
        using JsonDocument document = JsonDocument.Parse(text);
        return document.RootElement.Clone();
    }

    /// <summary>Posts JSON and reads a stream of server-sent events; checks its framing; the events without the closing mark.</summary>
    public async Task<List<JsonElement>> StreamAsync(string path, string json, bool expectDone = true)
    {
        using HttpResponseMessage response = await SendAsync(path, json);
        string text = await response.Content.ReadAsStringAsync();
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), text);
        Assert.That(response.Content.Headers.ContentType!.MediaType, Is.EqualTo("text/event-stream"));
        Assert.That(text, Does.EndWith("\n\n"));
        // An event is its data and, where the stream can be resumed, its id; comments are passed over.
        List<string> events = [];
        int seq = 0;
        foreach (string[] lines in text[..^2].Split("\n\n").Select(one => one.Split('\n')).Where(lines => !lines[0].StartsWith(':')))
        {
            seq++;
            if (lines.Length > 1)
                Assert.That(lines[1], Does.Match($"^id: .+:{seq}$"));
            Assert.That(lines, Has.Length.LessThanOrEqualTo(2));
            Assert.That(lines[0], Does.StartWith("data: "));
            events.Add(lines[0]);
        }
        if (expectDone)
        {
            Assert.That(events[^1], Is.EqualTo("data: [DONE]"));
            events.RemoveAt(events.Count - 1);
        }
        return [.. events.Select(one =>
        {
            using JsonDocument document = JsonDocument.Parse(one["data: ".Length..]);
            return document.RootElement.Clone();
        })];
    }

    /// <summary>Posts JSON and reads a stream of named events; checks that each is its name, its data and, where the stream can be resumed, its id.</summary>
    public async Task<List<(string Name, JsonElement Data)>> NamedStreamAsync(string path, string json)
    {
        using HttpResponseMessage response = await SendAsync(path, json);
        string text = await response.Content.ReadAsStringAsync();
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), text);
        Assert.That(response.Content.Headers.ContentType!.MediaType, Is.EqualTo("text/event-stream"));
        List<(string, JsonElement)> events = [];
        foreach (string[] lines in text[..^2].Split("\n\n").Select(one => one.Split('\n')).Where(lines => !lines[0].StartsWith(':')))
        {
            Assert.That(lines[0], Does.StartWith("event: "));
            Assert.That(lines[1], Does.StartWith("data: "));
            if (lines.Length > 2)
                Assert.That(lines[2], Does.Match($"^id: .+:{events.Count + 1}$"));
            using JsonDocument document = JsonDocument.Parse(lines[1]["data: ".Length..]);
            events.Add((lines[0]["event: ".Length..], document.RootElement.Clone()));
            Assert.That(document.RootElement.GetProperty("type").GetString(), Is.EqualTo(events[^1].Item1), "the name is the type");
        }
        return events;
    }

    /// <summary>Posts JSON and reads a stream of lines of JSON.</summary>
    public async Task<List<JsonElement>> LinesAsync(string path, string json)
    {
        using HttpResponseMessage response = await SendAsync(path, json);
        string text = await response.Content.ReadAsStringAsync();
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), text);
        Assert.That(response.Content.Headers.ContentType!.MediaType, Is.EqualTo("application/x-ndjson"));
        Assert.That(text, Does.EndWith("\n"));
        return [.. text[..^1].Split('\n').Select(line =>
        {
            using JsonDocument document = JsonDocument.Parse(line);
            return document.RootElement.Clone();
        })];
    }

    public async ValueTask DisposeAsync()
    {
        Group.Manual = false;
        Group.Allow(100);
        Http.Dispose();
        _channel.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }
}
