using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>/v1/messages, member by member and event by event.</summary>
public sealed class MessagesTests
{
    private const string Hi = """ "max_tokens":20,"messages":[{"role":"user","content":"hi"}] """;

    private static IEnumerable<int> Letters(string text) => text.Select(letter => (int)letter);

    private static int[] Prompt(ApiFixture api) => [.. api.Group.Plans.SelectMany(plan => plan.NewSequences).Last().TokenIds];

    [Test]
    public async Task Messages_Plain_HasAnthropicShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/messages") { Content = new StringContent($$"""{"model":"test-model","metadata":{"user_id":"u"},{{Hi}}}""", System.Text.Encoding.UTF8, "application/json") };
        request.Headers.Add("anthropic-version", "2023-06-01");
        request.Headers.Add("x-api-key", "none");
        using HttpResponseMessage response = await api.Http.SendAsync(request);
        JsonElement body = await ApiFixture.BodyAsync(response);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(response.Headers.GetValues("request-id").Single(), Is.EqualTo(response.Headers.GetValues("X-Request-Id").Single()).And.Not.Empty);
        string id = body.GetProperty("id").GetString()!;
        Assert.That(id, Does.StartWith("msg_"));
        Assert.That(body.GetRawText(), Is.EqualTo(
            $$$"""{"id":"{{{id}}}","type":"message","role":"assistant","model":"test-model","content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":4,"cache_read_input_tokens":0,"output_tokens":7,"cache_creation_input_tokens":0}}"""));
    }

    [TestCase(""" "max_tokens":3 """, "max_tokens", null, "Hel")]
    [TestCase(""" "max_tokens":9,"stop_sequences":["lo"] """, "stop_sequence", "lo", "Hel")]
    [TestCase(""" "max_tokens":9,"stop_sequences":[],"top_k":1 """, "end_turn", null, "Hello!")]
    public async Task Messages_End_IsToldByItsReason(string fields, string reason, string? stop, string text)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        string json = "{" + fields + """,    "messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}] """;
        (_, JsonElement body) = await api.PostAsync("/v1/messages", json + "}");
        Assert.That((body.GetProperty("stop_reason").GetString(), body.GetProperty("stop_sequence").GetString()), Is.EqualTo((reason, stop)));
        Assert.That(body.GetProperty("content")[0].GetProperty("text").GetString(), Is.EqualTo(text));
        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/messages", json + ""","stream":true}""");
        JsonElement end = events[^2].Data.GetProperty("delta");
        Assert.That((end.GetProperty("stop_reason").GetString(), end.GetProperty("stop_sequence").GetString()), Is.EqualTo((reason, stop)));
    }

    [Test]
    public async Task Messages_Stream_HasAnthropicEvents()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/messages", $$"""{{{Hi}},"stream":true}""");
        string[] names = [.. events.Select(one => one.Name)];
        Assert.That(names[..3], Is.EqualTo(new[] { "message_start", "ping", "content_block_start" }));
        Assert.That(names[^3..], Is.EqualTo(new[] { "content_block_stop", "message_delta", "message_stop" }));
        Assert.That(names[3..^3], Is.All.EqualTo("content_block_delta"));
        JsonElement start = events[0].Data.GetProperty("message");
        Assert.That(start.GetProperty("stop_reason").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(start.GetProperty("usage").GetProperty("input_tokens").GetInt32(), Is.EqualTo(4));
        Assert.That(events[2].Data.GetRawText(), Is.EqualTo("""{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"""));
        Assert.That(events[3].Data.GetProperty("delta").GetProperty("type").GetString(), Is.EqualTo("text_delta"));
        Assert.That(string.Concat(events[3..^3].Select(one => one.Data.GetProperty("delta").GetProperty("text").GetString())), Is.EqualTo("Hello!"));
        Assert.That(events[^2].Data.GetRawText(), Is.EqualTo(
            """{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":4,"cache_read_input_tokens":0,"output_tokens":7,"cache_creation_input_tokens":0}}"""));
    }

    [Test]
    public async Task Messages_StreamThatFails_EndsWithAnError()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("Hello!"), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: ApiFixture.Settings with { Engine = new() { Recoveries = 0 } });
        Task<List<(string Name, JsonElement Data)>> stream = api.NamedStreamAsync("/v1/messages", $$"""{{{Hi}},"stream":true}""");
        group.Allow(2);
        for (int step = 0; step < 3; step++)
            await group.StepBeganAsync();
        group.Lose("the test took it away");
        (string name, JsonElement data) = (await stream)[^1];
        Assert.That(name, Is.EqualTo("error"));
        Assert.That(data.GetProperty("error").GetProperty("type").GetString(), Is.EqualTo("overloaded_error"));
        Assert.That(data.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("worker_lost"));
    }

    [Test]
    public async Task Messages_Turns_BecomeTheConversation()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync(
            "/v1/messages",
            """
            {"max_tokens":1,"system":[{"type":"text","text":"s"},{"type":"text","text":"t"}],"thinking":{"type":"enabled","budget_tokens":1024},
             "messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"c"}]},{"role":"user","content":"d"}]}
            """);
        Assert.That(Prompt(api), Is.EqualTo(
            Letters("<|system|>st").Concat([TestModel.User, 'a', 'b', TestModel.Assistant, 'c', TestModel.User, 'd']).Concat(Letters("think")).Append(TestModel.Assistant)));
    }

    [Test]
    public async Task Messages_AssistantLast_IsGoneOnWith()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/messages", """{"max_tokens":9,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(Prompt(api), Is.EqualTo(new int[] { TestModel.User, 'a', TestModel.Assistant, 'b' }));
    }

    [Test]
    public async Task Messages_CachedPrompt_IsToldApart()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        string json = $$"""{"max_tokens":2,"messages":[{"role":"user","content":"{{new string('a', 30)}}"}]""";
        await api.PostAsync("/v1/messages", json + "}");
        JsonElement usage = (await api.NamedStreamAsync("/v1/messages", json + ""","stream":true}"""))[0].Data.GetProperty("message").GetProperty("usage");
        Assert.That(usage.GetProperty("cache_read_input_tokens").GetInt32(), Is.Positive);
        Assert.That(usage.GetProperty("input_tokens").GetInt32() + usage.GetProperty("cache_read_input_tokens").GetInt32(), Is.EqualTo(32));
    }

    [Test]
    public async Task Messages_Schema_ConstrainsTheText()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync(
            "/v1/messages",
            """{"max_tokens":40,"messages":[{"role":"user","content":"a"}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],"additionalProperties":false}}}}""");
        Assert.That(body.GetProperty("content")[0].GetProperty("text").GetString(), Is.EqualTo("""{"a": 1}"""));
    }

    [Test]
    public async Task CountTokens_Prompt_IsCountedAlsoBeyondTheContext()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/messages/count_tokens", """{"system":"s","messages":[{"role":"user","content":"abc"}]}""");
        Assert.That(body.GetRawText(), Is.EqualTo($$"""{"input_tokens":{{"<|system|>s".Length + 1 + 3 + 1}}}"""));
        (_, body) = await api.PostAsync("/v1/messages/count_tokens", $$"""{"messages":[{"role":"user","content":"{{new string('a', 500)}}"}]}""");
        Assert.That(body.GetRawText(), Is.EqualTo("""{"input_tokens":502}"""));
    }
}
