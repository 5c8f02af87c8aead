using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Ollama's API, member by member and line by line.</summary>
public sealed class OllamaTests
{
    private const string Hi = """ "model":"test-model","messages":[{"role":"user","content":"hi"}] """;

    private static int[] Prompt(ApiFixture api) => [.. api.Group.Plans.SelectMany(plan => plan.NewSequences).Last().TokenIds];

    private static IEnumerable<int> Letters(string text) => text.Select(letter => (int)letter);

    [Test]
    public async Task Chat_Whole_HasOllamaShape()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/api/chat", $$"""{{{Hi}},"stream":false,"keep_alive":"5m"}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Assert.That(body.GetProperty("message").GetRawText(), Is.EqualTo("""{"content":"Hello!","role":"assistant"}"""));
        Assert.That((body.GetProperty("done").GetBoolean(), body.GetProperty("done_reason").GetString()), Is.EqualTo((true, "stop")));
        Assert.That((body.GetProperty("prompt_eval_count").GetInt32(), body.GetProperty("eval_count").GetInt32()), Is.EqualTo((4, 7)));
        Assert.That(body.GetProperty("load_duration").GetInt64(), Is.Zero);
        Assert.That(body.GetProperty("total_duration").GetInt64(), Is.GreaterThanOrEqualTo(body.GetProperty("prompt_eval_duration").GetInt64() + body.GetProperty("eval_duration").GetInt64()));
        Assert.That(DateTimeOffset.Parse(body.GetProperty("created_at").GetString()!, System.Globalization.CultureInfo.InvariantCulture), Is.EqualTo(DateTimeOffset.UtcNow).Within(TimeSpan.FromMinutes(5)));
    }

    [Test]
    public async Task Chat_ByDefault_StreamsLines()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<JsonElement> lines = await api.LinesAsync("/api/chat", $$"""{{{Hi}}}""");
        Assert.That(string.Concat(lines.Select(line => line.GetProperty("message").GetProperty("content").GetString())), Is.EqualTo("Hello!"));
        Assert.That(lines, Has.Count.GreaterThan(1));
        Assert.That(lines.SkipLast(1).Select(line => line.GetProperty("done").GetBoolean()), Is.All.False);
        Assert.That((lines[^1].GetProperty("done").GetBoolean(), lines[^1].GetProperty("done_reason").GetString(), lines[^1].GetProperty("eval_count").GetInt32()), Is.EqualTo((true, "stop", 7)));
    }

    [Test]
    public async Task Generate_Stream_HasResponses()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<JsonElement> lines = await api.LinesAsync("/api/generate", """{"model":"test-model:latest","prompt":"hi","system":"s","options":{"num_predict":3}}""");
        Assert.That(string.Concat(lines.Select(line => line.GetProperty("response").GetString())), Is.EqualTo("Hel"));
        Assert.That((lines[^1].GetProperty("done_reason").GetString(), lines[^1].GetProperty("model").GetString()), Is.EqualTo(("length", "test-model:latest")));
        Assert.That(Prompt(api), Is.EqualTo(Letters("<|system|>s").Append(TestModel.User).Concat(Letters("hi")).Append(TestModel.Assistant)));
    }

    [Test]
    public async Task Generate_Raw_GoesToTheModelAsItIs()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/api/generate", """{"prompt":"<|user|>a","raw":true,"stream":false}""");
        Assert.That(Prompt(api), Is.EqualTo(new int[] { TestModel.User, 'a' }));
    }

    [TestCase("/api/generate", """{"model":"test-model"}""")]
    [TestCase("/api/generate", """{"model":"test-model","prompt":"","keep_alive":-1}""")]
    [TestCase("/api/chat", """{"model":"test-model","messages":[]}""")]
    public async Task Ollama_NoPrompt_AsksWhetherTheModelIsThere(string path, string json)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, json);
        Assert.That((status, body.GetProperty("done").GetBoolean(), body.GetProperty("done_reason").GetString()), Is.EqualTo((HttpStatusCode.OK, true, "load")));
        Assert.That(api.Group.Plans, Is.Empty);
    }

    [Test]
    public async Task Options_Given_ReachTheSampler()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(
            "/api/chat",
            $$$"""
            {{{{Hi}}},"stream":false,"options":{"temperature":0.5,"top_k":7,"top_p":0.25,"min_p":0.125,"seed":42,"repeat_penalty":1.5,"presence_penalty":0.5,"frequency_penalty":-0.5,
             "stop":["l"],"num_predict":-1,"num_ctx":128,"num_thread":4,"mirostat":0,"repeat_last_n":-1}}
            """);
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        Protos.Worker.SamplingParameters sampling = api.Group.Plans.SelectMany(plan => plan.NewSequences).Single().Sampling;
        Assert.That(
            (sampling.Temperature, sampling.TopK, sampling.TopP, sampling.MinP, sampling.Seed, sampling.RepetitionPenalty, sampling.PresencePenalty, sampling.FrequencyPenalty),
            Is.EqualTo((0.5f, 7, 0.25f, 0.125f, 42ul, 1.5f, 0.5f, -0.5f)));
        Assert.That(body.GetProperty("message").GetProperty("content").GetString(), Is.EqualTo("He"));
    }

    [TestCase("""{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],"additionalProperties":false}""", """{"a": 1}""")]
    [TestCase("\"\"", "Hello!")]
    public async Task Format_Schema_ConstrainsTheText(string format, string text)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/api/chat", $$$"""{{{{Hi}}},"stream":false,"format":{{{format}}},"options":{"num_predict":40}}""");
        Assert.That(body.GetProperty("message").GetProperty("content").GetString(), Is.EqualTo(text));
    }

    [TestCase("true", true)]
    [TestCase("\"low\"", true)]
    [TestCase("false", false)]
    public async Task Think_Given_ReachesTheTemplate(string think, bool thinks)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        await api.PostAsync("/api/chat", $$"""{{{Hi}},"stream":false,"think":{{think}}}""");
        Assert.That(Prompt(api), Is.EqualTo(Letters("hi").Prepend(TestModel.User).Concat(Letters(thinks ? "think" : "")).Append(TestModel.Assistant)));
    }

    [Test]
    public async Task Logprobs_Asked_ComeWithTheLines()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        List<JsonElement> lines = await api.LinesAsync("/api/chat", $$$"""{{{{Hi}}},"logprobs":true,"top_logprobs":1,"options":{"num_predict":2}}""");
        Assert.That(lines[0].GetProperty("logprobs")[0].GetProperty("token").GetString(), Is.EqualTo("H"));
    }

    [Test]
    public async Task Models_Asked_AreTheServedOne()
    {
        ServingModel model = TestModel.Model() with { OtherNames = ["another"], Files = new ModelFiles("gguf", "Q4_1", 134_500_000, 1000, "x") };
        await using ApiFixture api = await ApiFixture.StartAsync(model: model);
        JsonElement tags = (await api.GetAsync("/api/tags")).GetProperty("models");
        Assert.That(tags.EnumerateArray().Select(one => one.GetProperty("name").GetString()), Is.EqualTo(new[] { "test-model", "another" }));
        Assert.That(tags[0].GetProperty("model").GetString(), Is.EqualTo("test-model"));
        Assert.That(tags[0].GetProperty("size").GetInt64(), Is.EqualTo(1000));
        Assert.That(tags[0].GetProperty("digest").GetString(), Does.Match("^[0-9a-f]{64}$"));
        Assert.That(tags[0].GetProperty("details").GetRawText(), Is.EqualTo(
            """{"format":"gguf","family":"llama","families":["llama"],"parameter_size":"134.50M","quantization_level":"Q4_1","parent_model":""}"""));

        JsonElement loaded = (await api.GetAsync("/api/ps")).GetProperty("models");
        Assert.That((loaded.GetArrayLength(), loaded[0].GetProperty("size_vram").GetInt64(), loaded[0].GetProperty("context_length").GetInt32()), Is.EqualTo((1, 0L, 128)));

        (_, JsonElement shown) = await api.PostAsync("/api/show", """{"model":"test-model:latest"}""");
        Assert.That(shown.GetProperty("template").GetString(), Is.EqualTo(TestModel.Template));
        Assert.That(shown.GetProperty("capabilities").EnumerateArray().Select(one => one.GetString()), Is.EqualTo(new[] { "completion", "thinking" }));
        Assert.That(shown.GetProperty("model_info").GetProperty("llama.context_length").GetInt32(), Is.EqualTo(128));
        Assert.That(shown.GetProperty("model_info").GetProperty("general.architecture").GetString(), Is.EqualTo("llama"));

        Assert.That((await api.GetAsync("/api/version")).GetProperty("version").GetString(), Does.Match(@"^\d+\.\d+\.\d+$"));
    }

    [TestCase("POST", "/api/pull")]
    [TestCase("POST", "/api/push")]
    [TestCase("POST", "/api/create")]
    [TestCase("POST", "/api/copy")]
    [TestCase("DELETE", "/api/delete")]
    public async Task Ollama_RouteThatChangesModels_IsRefusedByName(string method, string path)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage response = await api.Http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path) { Content = new StringContent("""{"model":"x"}""", System.Text.Encoding.UTF8, "application/json") });
        JsonElement body = await ApiFixture.BodyAsync(response);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(body.EnumerateObject().Single().Name, Is.EqualTo("error"));
        Assert.That(body.GetProperty("error").GetString(), Does.Contain($"'{path}'"));
    }

    [Test]
    public async Task Ollama_StreamThatFails_EndsWithAnError()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("Hello!"), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: ApiFixture.Settings with { Engine = new() { Recoveries = 0 } });
        Task<List<JsonElement>> stream = api.LinesAsync("/api/chat", $$"""{{{Hi}}}""");
        group.Allow(2);
        for (int step = 0; step < 3; step++)
            await group.StepBeganAsync();
        group.Lose("the test took it away");
        List<JsonElement> lines = await stream;
        Assert.That(lines[0].GetProperty("message").GetProperty("content").GetString(), Is.Not.Empty);
        Assert.That(lines[^1].GetProperty("error").GetString(), Does.Contain("the test took it away"));
    }
}
