using System.Globalization;
using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Every limit on what a request may ask for: at the limit the field is not at fault, one beyond it is, and the next request is served.</summary>
public sealed class LimitPairTests
{
    private static readonly RequestLimits s_limits = ApiFixture.Settings.Limits;

    private ApiFixture _api = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { QueueLimit = 128 });

    [OneTimeTearDown]
    public async Task StopAsync() => await _api.DisposeAsync();

    private static IEnumerable<TestCaseData> Limits()
    {
        yield return Pair("/v1/completions", "n", s_limits.Outputs, n => $$"""{"prompt":"a","max_tokens":1,"n":{{n}}}""");
        yield return Pair("/v1/completions", "logprobs", s_limits.TopLogprobs, n => $$"""{"prompt":"a","max_tokens":1,"logprobs":{{n}}}""");
        yield return Pair("/v1/completions", "prompt_logprobs", s_limits.TopLogprobs, n => $$"""{"prompt":"a","max_tokens":1,"prompt_logprobs":{{n}}}""");
        yield return Pair("/v1/chat/completions", "top_logprobs", s_limits.TopLogprobs, n => Chat($$""" "logprobs":true,"top_logprobs":{{n}} """));
        yield return Pair("/v1/completions", "stop", s_limits.StopStrings, n => $$"""{"prompt":"a","max_tokens":1,"stop":[{{List(n, i => $"\"s{i}\"")}}]}""");
        yield return Pair("/v1/completions", "stop", s_limits.StopStringBytes, n => $$"""{"prompt":"a","max_tokens":1,"stop":"{{new string('s', n)}}"}""");
        yield return Pair("/v1/completions", "stop_token_ids", s_limits.StopTokenIds, n => $$"""{"prompt":"a","max_tokens":1,"stop_token_ids":[{{List(n, i => $"{i}")}}]}""");
        yield return Pair("/v1/completions", "prompt", s_limits.Prompts, n => $$"""{"prompt":[{{List(n, _ => "\"a\"")}}],"max_tokens":0}""");
        yield return Pair("/v1/completions", "request_id", s_limits.RequestIdLength, n => $$"""{"prompt":"a","max_tokens":1,"request_id":"{{new string('r', n)}}"}""");
        yield return Pair("/v1/completions", "cache.salt", RequestLimits.CacheSaltBytes, n => $$"""{"prompt":"a","max_tokens":1,"cache_salt":"{{new string('s', n)}}"}""");
        yield return Pair("/v1/completions", "priority", RequestLimits.Priority, n => $$"""{"prompt":"a","max_tokens":1,"priority":{{n}}}""");
        yield return Pair("/v1/completions", "priority", RequestLimits.Priority, n => $$"""{"prompt":"a","max_tokens":1,"priority":-{{n}}}""");
        yield return Pair("/v1/completions", "draft_tokens", RequestLimits.DraftTokens, n => $$"""{"prompt":"a","max_tokens":1,"draft_tokens":{{n}}}""");
        yield return Pair("/v1/completions", "max_tokens", 127, n => $$"""{"prompt":"a","max_tokens":{{n}}}""");
        yield return Pair("/v1/completions", "prompt", 127, n => $$"""{"prompt":"{{new string('a', n)}}"}""");
        yield return Pair("/v1/completions", "temperature", 100, n => $$"""{"prompt":"a","max_tokens":1,"temperature":{{n}}}""");
        yield return Pair("/v1/completions", "top_p", 1, n => $$"""{"prompt":"a","max_tokens":1,"top_p":{{n}}}""");
        yield return Pair("/v1/completions", "min_p", 1, n => $$"""{"prompt":"a","max_tokens":1,"min_p":{{n}}}""");
        yield return Pair("/v1/completions", "presence_penalty", 2, n => $$"""{"prompt":"a","max_tokens":1,"presence_penalty":{{n}}}""");
        yield return Pair("/v1/completions", "frequency_penalty", 2, n => $$"""{"prompt":"a","max_tokens":1,"frequency_penalty":-{{n}}}""");
        yield return Pair("/v1/completions", "logit_bias", 100, n => $$$"""{"prompt":"a","max_tokens":1,"logit_bias":{"5":{{{n}}}}}""");
        yield return Pair("/v1/completions", "allowed_token_ids", 263, n => $$"""{"prompt":"a","max_tokens":1,"allowed_token_ids":[{{n}}]}""");
        yield return Pair("/v1/completions", "prompt", 263, n => $$"""{"prompt":[{{n}}],"max_tokens":1}""");
        yield return Pair("/v1/chat/completions", "messages", s_limits.Messages, n => $$"""{"messages":[{{List(n, _ => "{\"role\":\"user\",\"content\":\"a\"}")}}]}""");
        yield return Pair("/v1/chat/completions", "tools", s_limits.Tools, n => Chat($$""" "tools":[{{List(n, i => "{\"function\":{\"name\":\"f" + i + "\"}}")}}] """));
        yield return Pair("/v1/chat/completions", "tools[0].function.name", 64, n => Chat($$$""" "tools":[{"function":{"name":"{{{new string('f', n)}}}"}}] """));
        yield return Pair("/v1/chat/completions", "messages[0].role", 64, n => $$"""{"messages":[{"role":"{{new string('r', n)}}","content":"a"}],"max_tokens":1}""");
        yield return Pair("/v1/embeddings", "input", s_limits.EmbeddingInputs, n => $$"""{"input":[{{List(n, _ => "[5]")}}]}""");

        static TestCaseData Pair(string path, string field, int limit, Func<int, string> body) =>
            new TestCaseData(path, field, limit, body).SetName($"Limit_{field}_{limit}_HoldsExactly({path}, {body(0).Length})");

        static string Chat(string more) => $$"""{"messages":[{"role":"user","content":"a"}],"max_tokens":1,{{more}}}""";

        static string List(int count, Func<int, string> one) => string.Join(',', Enumerable.Range(0, count).Select(one));
    }

    [TestCaseSource(nameof(Limits))]
    public async Task Limit_OfAField_HoldsExactly(string path, string field, int limit, Func<int, string> body)
    {
        (HttpStatusCode within, JsonElement answer) = await _api.PostAsync(path, body(limit));
        if (within != HttpStatusCode.OK) // so much of one kind is too much of another: a conversation of that many messages is longer than the context
            Assert.That((within, Param(answer)), Is.Not.EqualTo((HttpStatusCode.BadRequest, field)).Or.EqualTo((HttpStatusCode.BadRequest, "messages")), answer.GetRawText());
        (HttpStatusCode beyond, JsonElement error) = await _api.PostAsync(path, body(limit + 1));
        Assert.That((beyond, Param(error)), Is.EqualTo((HttpStatusCode.BadRequest, field)), error.GetRawText());
        if (within != HttpStatusCode.OK)
            Assert.That(Message(error), Is.Not.EqualTo(Message(answer)));
        (HttpStatusCode next, _) = await _api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        Assert.That(next, Is.EqualTo(HttpStatusCode.OK));
    }

    private static string? Param(JsonElement body) => body.TryGetProperty("error", out JsonElement error) ? error.GetProperty("param").GetString() : null;

    private static string? Message(JsonElement body) => string.Create(CultureInfo.InvariantCulture, $"{body.GetProperty("error").GetProperty("message")}");
}
