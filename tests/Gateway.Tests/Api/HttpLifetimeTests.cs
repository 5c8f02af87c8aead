using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Clients that leave, groups that are lost, queues that are full, and what the server tells of itself.</summary>
public sealed class HttpLifetimeTests
{
    [Test]
    public async Task Completion_ClientLeaves_FreesItsBlocks()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        using CancellationTokenSource client = new();
        Task<HttpResponseMessage> request = api.SendAsync("/v1/completions", """{"prompt":"a"}""", client.Token);
        await group.StepBeganAsync();
        Assert.That(api.Engine.Load().RunningSequences, Is.EqualTo(1));
        await client.CancelAsync();
        await Assert.ThatAsync(async () => await request, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => api.Engine.Load().UsedBlocks, Is.Zero.After(10_000, 10));
    }

    [Test]
    public async Task Completion_QueueFull_Is429WithRetryAfter()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: ApiFixture.Settings with { MaxSequences = 1, QueueLimit = 1 });
        Task<(HttpStatusCode, JsonElement)> first = api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        await group.StepBeganAsync();
        Task<(HttpStatusCode, JsonElement)> second = api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        Assert.That(() => api.Engine.Load().WaitingSequences, Is.EqualTo(1).After(10_000, 10));
        using HttpResponseMessage third = await api.SendAsync("/v1/completions", """{"prompt":"a"}""");
        Assert.That(third.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(third.Headers.RetryAfter!.Delta, Is.EqualTo(TimeSpan.FromSeconds(2)));
        Assert.That((await ApiFixture.BodyAsync(third)).GetProperty("error").GetProperty("type").GetString(), Is.EqualTo("rate_limit_error"));
        group.Allow(2);
        Assert.That((await first).Item1, Is.EqualTo(HttpStatusCode.OK));
        Assert.That((await second).Item1, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task Completion_CircuitIsOpen_Is503WithTheReasonAndTheNextSucceeds()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        Task<HttpResponseMessage> request = api.SendAsync("/v1/completions", """{"prompt":"a"}""");
        await group.StepBeganAsync();
        group.Manual = false;
        group.Lose("rank 1 exited");
        using HttpResponseMessage unready = await api.Http.GetAsync("/health/ready");
        Assert.That(unready.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        group.Break("the model file is gone");
        using HttpResponseMessage response = await request;
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That(response.Headers.RetryAfter!.Delta, Is.EqualTo(TimeSpan.FromSeconds(2)));
        JsonElement error = (await ApiFixture.BodyAsync(response)).GetProperty("error");
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("group_unavailable"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("the model file is gone"));

        group.Start();
        (HttpStatusCode status, _) = await api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task Completion_ServersTimeoutComes_Is504()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(
            start: false, settings: ApiFixture.Settings with { RequestTimeout = TimeSpan.FromMilliseconds(200) });
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", """{"prompt":"a"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.GatewayTimeout));
        Assert.That(body.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("deadline_exceeded"));
        Assert.That(api.Engine.Load().WaitingSequences, Is.Zero);
    }

    [Test]
    public async Task Completion_OneOfSeveralPromptsIsRefused_EndsThemAll()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(start: false, settings: ApiFixture.Settings with { QueueLimit = 2 });
        using CancellationTokenSource leave = new();
        Task<HttpResponseMessage> waiting = api.SendAsync("/v1/completions", """{"prompt":"a"}""", leave.Token);
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(5));
        for (int i = 0; api.Engine.Load().WaitingSequences == 0 && i < 4000; i++)
            await pause.WaitForNextTickAsync();
        (HttpStatusCode status, _) = await api.PostAsync("/v1/completions", """{"prompt":["b","c"]}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(api.Engine.Load().WaitingSequences, Is.EqualTo(1), "the one that was there before");
        await leave.CancelAsync();
        await Assert.ThatAsync(() => waiting, Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task Stream_GroupLostAfterTheFirstByte_SaysInACommentThatItRecoversAndGoesOn()
    {
        FakeWorkerGroup group = new() { Manual = true, NextToken = FakeWorkerGroup.Says("Hello!") };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        Task<HttpResponseMessage> request = api.SendAsync("/v1/completions", """{"prompt":"a","stream":true}""");
        await group.StepBeganAsync();
        group.Allow();
        await group.StepBeganAsync();
        group.Manual = false;
        group.Lose("rank 1 exited");
        group.Start();
        using HttpResponseMessage response = await request;
        string text = await response.Content.ReadAsStringAsync();
        Assert.That(text, Does.Contain(": recovering\n\n"));
        Assert.That(TextOf(text), Is.EqualTo("Hello!"));
        Assert.That(text, Does.Contain("data: [DONE]"));
    }

    [TestCase("/v1/completions", """{"prompt":"a","stream":true,"stream_options":{"include_usage":true}}""")]
    [TestCase("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"stream":true,"n":2,"stream_options":{"include_usage":true}}""")]
    public async Task Stream_ClientComesBackWithLastEventId_GetsTheRestAndNothingTwice(string path, string body)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(group: new FakeWorkerGroup { NextToken = FakeWorkerGroup.Says("Hello!") });
        string whole = await (await api.SendAsync(path, body)).Content.ReadAsStringAsync();
        string[] events = whole.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        for (int seen = 1; seen < events.Length; seen++)
        {
            using HttpRequestMessage again = new(HttpMethod.Post, path) { Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json") };
            again.Headers.Add("Last-Event-ID", events[seen - 1].Split('\n')[1]["id: ".Length..]);
            using HttpResponseMessage rest = await api.Http.SendAsync(again);
            Assert.That(rest.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(await rest.Content.ReadAsStringAsync(), Is.EqualTo(string.Concat(events.Skip(seen).Select(one => one + "\n\n"))));
        }
    }

    [TestCase("nobody:3", HttpStatusCode.NotFound, "stream_not_found")]
    [TestCase("nonsense", HttpStatusCode.BadRequest, "invalid_field")]
    public async Task Stream_LastEventIdOfNoStream_IsRefused(string id, HttpStatusCode status, string code)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpRequestMessage again = new(HttpMethod.Post, "/v1/completions") { Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json") };
        again.Headers.Add("Last-Event-ID", id);
        using HttpResponseMessage refused = await api.Http.SendAsync(again);
        Assert.That(refused.StatusCode, Is.EqualTo(status));
        Assert.That((await ApiFixture.BodyAsync(refused)).GetProperty("error").GetProperty("code").GetString(), Is.EqualTo(code));
    }

    [Test]
    public async Task Stream_LastEventIdBeyondTheEnd_IsRefusedWithTheNumberOfEvents()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(group: new FakeWorkerGroup { NextToken = FakeWorkerGroup.Says("Hi!") });
        string[] events = (await (await api.SendAsync("/v1/completions", """{"prompt":"a","stream":true}""")).Content.ReadAsStringAsync()).Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        string request = events[0].Split('\n')[1]["id: ".Length..].Split(':')[0];
        using HttpRequestMessage again = new(HttpMethod.Post, "/v1/completions") { Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json") };
        again.Headers.Add("Last-Event-ID", $"{request}:100000");
        using HttpResponseMessage refused = await api.Http.SendAsync(again);
        Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That((await ApiFixture.BodyAsync(refused)).GetProperty("error").GetProperty("message").GetString(), Does.Contain("100000").And.Contain($"{events.Length}"));
    }

    [Test]
    public void Printable_ControlCharacters_StayOnTheirLine() =>
        Assert.That(ApiLog.Printable("model 'x\n[INF] forged\u001b[31m'"), Is.EqualTo("model 'x\\u000a[INF] forged\\u001b[31m'"));

    private static string TextOf(string events) => string.Concat(events.Split('\n').Where(line => line.StartsWith("data: {", StringComparison.Ordinal)).Select(line =>
    {
        using JsonDocument chunk = JsonDocument.Parse(line["data: ".Length..]);
        return chunk.RootElement.GetProperty("choices")[0].GetProperty("text").GetString();
    }));

    [Test]
    public async Task Server_Stops_RequestsInFlightEndAtOnce()
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        Task<HttpResponseMessage> request = api.SendAsync("/v1/completions", """{"prompt":"a"}""");
        await group.StepBeganAsync();
        Task stop = api.StopAsync();
        using HttpResponseMessage response = await request;
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        await stop.WaitAsync(TimeSpan.FromSeconds(20));
    }

    [Test]
    public async Task Model_OfSeveralNames_IsServedUnderEach()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(model: TestModel.Model() with { Name = "org/first", OtherNames = ["second"] });
        Assert.That((await api.GetAsync("/v1/models")).GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()), Is.EqualTo(new[] { "org/first", "second" }));
        Assert.That((await api.GetAsync("/v1/models/second")).GetProperty("root").GetString(), Is.EqualTo("org/first"));
        foreach (string name in (string[])["org/first", "second"])
        {
            (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", $$"""{"model":"{{name}}","prompt":"a","max_tokens":1}""");
            Assert.That((status, body.GetProperty("model").GetString()), Is.EqualTo((HttpStatusCode.OK, "org/first")));
        }
        (HttpStatusCode refused, JsonElement error) = await api.PostAsync("/v1/completions", """{"model":"third","prompt":"a"}""");
        Assert.That((refused, error.GetProperty("error").GetProperty("message").GetString()), Is.EqualTo((HttpStatusCode.NotFound, "Model 'third' is not served here; 'org/first' and 'second' are.")));
    }

    [Test]
    public async Task Server_TellsOfItself_InOpenAiAndVllmShapes()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        JsonElement models = await api.GetAsync("/v1/models");
        Assert.That(models.GetProperty("object").GetString(), Is.EqualTo("list"));
        JsonElement model = models.GetProperty("data")[0];
        Assert.That(model.GetProperty("id").GetString(), Is.EqualTo("test-model"));
        Assert.That(model.GetProperty("object").GetString(), Is.EqualTo("model"));
        Assert.That(model.GetProperty("max_model_len").GetInt32(), Is.EqualTo(128));
        Assert.That((await api.GetAsync("/v1/models/test-model")).GetProperty("id").GetString(), Is.EqualTo("test-model"));
        using HttpResponseMessage unknown = await api.Http.GetAsync("/v1/models/org/other");
        Assert.That(unknown.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));

        Assert.That((await api.GetAsync("/health/live")).GetRawText(), Is.EqualTo("""{"status":"live"}"""));
        Assert.That((await api.GetAsync("/health/ready")).GetRawText(), Is.EqualTo("""{"status":"ready"}"""));
        JsonElement topology = await api.GetAsync("/topology");
        Assert.That(topology.GetProperty("state").GetString(), Is.EqualTo("GROUP_STATE_READY"));
        Assert.That(topology.GetProperty("ranks")[0].GetProperty("all_reduce_microseconds").GetDouble(), Is.EqualTo(2.5));
        Assert.That(topology.GetProperty("device_reason").GetString(), Is.EqualTo("--device cpu"));
        JsonElement path = topology.GetProperty("ranks")[0].GetProperty("paths")[0];
        Assert.That(
            (path.GetProperty("peer").GetInt32(), path.GetProperty("round_trip_microseconds").GetDouble(), path.GetProperty("bytes_per_second").GetDouble()), Is.EqualTo((1, 4.5, 2e11)));
        JsonElement vocabulary = topology.GetProperty("ranks")[1].GetProperty("vocab_rows");
        Assert.That((vocabulary.GetProperty("start").GetInt32(), vocabulary.GetProperty("end").GetInt32()), Is.EqualTo((132, 264)));
        Assert.That(topology.GetProperty("ranks")[1].GetProperty("step_microseconds").GetInt32(), Is.Zero, "what is zero is told too");

        (_, JsonElement tokens) = await api.PostAsync("/tokenize", """{"prompt":"hé<|end|>","return_token_strs":true,"parse_special_tokens":false}""");
        Assert.That(tokens.GetProperty("tokens").EnumerateArray().Take(3).Select(id => id.GetInt32()), Is.EqualTo(new[] { 'h', 0xC3, 0xA9 }));
        Assert.That(tokens.GetProperty("count").GetInt32(), Is.EqualTo(10), "the text of a special token is only text where that is asked");
        Assert.That(tokens.GetProperty("max_model_len").GetInt32(), Is.EqualTo(128));
        Assert.That(tokens.GetProperty("token_strs")[0].GetString(), Is.EqualTo("h"));
        (_, JsonElement parsed) = await api.PostAsync("/tokenize", """{"prompt":"<|end|>"}""");
        Assert.That(parsed.GetProperty("tokens").GetRawText(), Is.EqualTo("[256]"));
        (_, JsonElement chat) = await api.PostAsync("/tokenize", """{"messages":[{"role":"user","content":"a"}]}""");
        Assert.That(chat.GetProperty("tokens").GetRawText(), Is.EqualTo("[257,97,258]"));
        (_, JsonElement text) = await api.PostAsync("/detokenize", """{"tokens":[104,195,169,256]}""");
        Assert.That(text.GetProperty("prompt").GetString(), Is.EqualTo("hé<|end|>"));
    }
}
