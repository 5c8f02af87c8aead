using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Access;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Telemetry;

/// <summary>What the server tells of requests: each call in a line and in spans, and never what was asked, answered, or asked with.</summary>
[NonParallelizable] // whoever listens to spans hears every server of the process
public sealed class DiscretionTests
{
    private const string Marker = "zebrafink";

    [Test, CancelAfter(60_000)]
    public async Task LogsMetricsAndSpans_OfCallsOfEveryKind_HoldNeitherPromptNorOutputNorKey(CancellationToken cancellation)
    {
        using ScratchKeys keys = new();
        string key = keys.Add("quiet", KeyScope.Admin);
        using Lines lines = new();
        ConcurrentQueue<string> spans = new();
        using ActivityListener listener = Listen(activity => spans.Enqueue($"{activity.DisplayName} {string.Join(' ', activity.TagObjects.Select(tag => $"{tag.Key}={tag.Value}"))}"));
        await using ApiFixture api = await ApiFixture.StartAsync(
            says: "ok " + Marker, settings: keys.Settings, adjust: builder => builder.Logging.AddProvider(lines).SetMinimumLevel(LogLevel.Trace).AddFilter("Microsoft", LogLevel.Warning).AddFilter("Grpc", LogLevel.Warning));
        ScratchKeys.Use(api, key);

        string[] bodies =
        [
            """{"prompt":"MARK"}""", """{"prompt":"MARK","stream":true}""", """{"prompt":"MARK","temperature":-1}""", """{"prompt":"MARK","stop":["MARK"]}""",
            """{"prompt":MARK""", """{"prompt":"MARK","max_tokens":1000}""", """{"prompt":"MARK","model":"MARK"}""", """{"MARK text":1,"prompt":"MARK \ud800"}""",
            """{"prompt":"MARK","structured_outputs":{"regex":"(MARK"}}""", """{"prompt":"MARK","structured_outputs":{"json":{"type":"MARK"}}}""",
            """{"prompt":"MARK","request_id":"MARK MARK"}""", """{"messages":[{"role":"user","content":"MARK"}],"max_tokens":2}""",
            """{"messages":[{"role":"MARKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","content":"MARK"}],"max_tokens":2}""", """{"messages":[{"role":"user","content":"MARK"}],"tools":[{"function":{"name":"MARK MARK"}}]}""",
            """{"input":"MARK","dimensions":3}""", """{"input":"MARK"}""", """{"model":"MARK","messages":[{"role":"user","content":"MARK"}],"stream":false}""",
        ];
        foreach (string path in new[] { "/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/api/chat", "/api/generate", "/tokenize", $"/v1/models/{Marker}", $"/{Marker}", $"/v1/responses/{Marker}" })
            foreach (string body in bodies)
            {
                using HttpResponseMessage response = await api.SendAsync(path + "?q=" + Marker, body.Replace("MARK", Marker, StringComparison.Ordinal), cancellation);
                await response.Content.ReadAsByteArrayAsync(cancellation);
                Assert.That(response.StatusCode, Is.Not.EqualTo(HttpStatusCode.InternalServerError), $"{path} {body}");
            }
        await api.Inference.GenerateAsync(new GenerateRequest { Text = Marker }, ScratchKeys.Bearer(key), cancellationToken: cancellation);
        foreach (GenerateRequest bad in new[] { new GenerateRequest { Text = Marker, Model = Marker }, new GenerateRequest { Text = Marker, Constraint = new Constraint { Regex = "(" + Marker } } })
            await Assert.ThatAsync(async () => await api.Inference.GenerateAsync(bad, ScratchKeys.Bearer(key), cancellationToken: cancellation), Throws.InstanceOf<Grpc.Core.RpcException>());
        using (HttpRequestMessage unknown = new(HttpMethod.Get, "/v1/models"))
        {
            unknown.Headers.TryAddWithoutValidation("Authorization", "Bearer tps-" + Marker);
            (await api.Http.SendAsync(unknown, cancellation)).Dispose();
        }
        Scrape scrape = await Scrape.OfAsync(api);

        Assert.That(() => lines.All.Count(line => line.Contains("gRPC", StringComparison.Ordinal)), Is.GreaterThanOrEqualTo(3).After(10_000, 20));
        Assert.That(lines.All, Has.Some.Match(@"^POST /v1/completions 200 in [0-9.]+ ms, request \S{8,}, key quiet$"));
        Assert.That(lines.All, Has.Some.Match(@"^POST /v1/completions 400 in [0-9.]+ ms, request -, key quiet$"));
        Assert.That(lines.All, Has.Some.Match(@"^GET /v1/models 401 in [0-9.]+ ms, request -, key -$"));
        Assert.That(lines.All, Has.Some.Match(@"^POST /tpserve.v1.Inference/Generate gRPC 0 in "));
        Assert.That(lines.All, Has.Some.EqualTo("/v1/completions refused: InvalidArgument OUT_OF_RANGE temperature").Or.Match("^/v1/completions refused: InvalidArgument [A-Z_]+ temperature$"));
        Assert.That(spans, Has.Some.StartsWith("generate_content test-model"));
        string told = string.Join('\n', [.. lines.All, .. spans, scrape.Text]);
        Assert.That(told, Does.Not.Contain(Marker).And.Not.Contain(key).And.Not.Contain(AccessKey.HashOf(key)));
    }

    [Test, CancelAfter(60_000)]
    public async Task Spans_OfARequest_StandUnderItsCallersTraceAndItsPartsUnderIt(CancellationToken cancellation)
    {
        ConcurrentQueue<Activity> ended = new();
        using ActivityListener listener = Listen(ended.Enqueue);
        await using ApiFixture api = await ApiFixture.StartAsync(says: "Hello!");
        ActivityTraceId trace = ActivityTraceId.CreateRandom();
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions") { Content = new StringContent("""{"prompt":"abcd","request_id":"mine"}""", Encoding.UTF8, "application/json") };
        request.Headers.Add("traceparent", $"00-{trace}-{ActivitySpanId.CreateRandom()}-01");
        using HttpResponseMessage response = await api.Http.SendAsync(request, cancellation);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Activity[] mine = [];
        Assert.That(() => mine = [.. ended.Where(span => span.TraceId == trace)], Has.Length.EqualTo(7).After(10_000, 20), "call, request, queue, prefill, decode, two ranks");

        Activity whole = mine.Single(span => span.DisplayName == "generate_content test-model");
        Activity call = mine.Single(span => span.Source.Name == "Microsoft.AspNetCore");
        Assert.That(whole.ParentSpanId, Is.EqualTo(call.SpanId));
        Assert.That(call.DisplayName, Is.EqualTo("POST /v1/completions"));
        Activity[] parts = [.. mine.Where(span => span.ParentSpanId == whole.SpanId)];
        Assert.That(parts.Select(span => span.DisplayName), Is.EquivalentTo(new[] { "queue", "prefill", "decode", "rank 0", "rank 1" }));
        Assert.That((whole.GetTagItem("gen_ai.response.id"), whole.GetTagItem("gen_ai.usage.input_tokens"), whole.GetTagItem("gen_ai.usage.output_tokens"), whole.GetTagItem("gen_ai.response.finish_reasons")),
            Is.EqualTo(("mine", 4, 7, new[] { "stop" })));
        Activity[] times = [.. parts.Take(3).OrderBy(span => span.StartTimeUtc)];
        Assert.That(times[0].StartTimeUtc, Is.EqualTo(whole.StartTimeUtc));
        for (int i = 1; i < times.Length; i++)
            Assert.That(times[i].StartTimeUtc, Is.EqualTo(times[i - 1].StartTimeUtc + times[i - 1].Duration), "one after the other");
        Assert.That(parts.Single(span => span.DisplayName == "rank 1").GetTagItem("tpserve.wait_seconds"), Is.Not.Null);
    }

    private static ActivityListener Listen(Action<Activity> stopped)
    {
        ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name is "tpserve" or "Microsoft.AspNetCore",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = stopped,
        };
        ActivitySource.AddActivityListener(listener);
        return listener;
    }

    /// <summary>Every line that is logged.</summary>
    private sealed class Lines : ILoggerProvider, ILogger
    {
        private readonly ConcurrentQueue<string> _lines = new();

        public IReadOnlyCollection<string> All => _lines;

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _lines.Enqueue(exception is null ? formatter(state, exception) : $"{formatter(state, exception)} {exception}");

        public void Dispose()
        {
            // Nothing is held.
        }
    }
}
