using System.Net;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>What thoughts cost, which tools may be called, and streams that are resumed in the middle of a call.</summary>
public sealed class CallStreamTests
{
    private const string Template =
        "{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{%- for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{%- endfor %}{%- endfor %}"
        + "{%- if tools %}{{ tools | tojson }}{%- endif %}<|assistant|>";

    private const string Thinks = Template + "<think>\n{# </think> #}";

    private const string Schema = """{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}""";

    private const string Tools = $$$"""[{"type":"function","function":{"name":"light","parameters":{{{Schema}}}}},{"type":"function","function":{"name":"stop"}}]""";

    private const string FlatTools = $$"""[{"type":"function","name":"light","parameters":{{Schema}}},{"type":"function","name":"stop"}]""";

    private const string Hi = """ "messages":[{"role":"user","content":"hi"}] """;

    private static readonly string[] s_ofCalls = ["arguments", "input_json_delta"];

    private static Task<ApiFixture> StartAsync(string says, string template) => ApiFixture.StartAsync(
        group: new FakeWorkerGroup(kvBlocks: 1024) { NextToken = FakeWorkerGroup.Says(says) }, settings: ApiFixture.Settings with { MaxModelLen = 2048 },
        model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(template) });

    // A token of the test's model is a letter: "Hm." and the mark that ends thoughts are eleven.
    [TestCase("Hm.</think>\n\nSure.", 1, 100, 11)]
    [TestCase("Hm.</think>\n\nSure.", 2, 100, 22)]
    [TestCase("Hm.</think>\n\nSure.", 1, 3, 3)]
    [TestCase("Hm.</think>", 1, 100, 11)]
    [TestCase("Hm.", 1, 100, 4)] // the end token is thought, for nothing else came
    public async Task Thoughts_AreCountedByTheirTokens(string says, int outputs, int mostTokens, int thought)
    {
        await using ApiFixture api = await StartAsync(says, Thinks);
        string json = $$"""{{{Hi}},"n":{{outputs}},"max_tokens":{{mostTokens}}}""";
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", json);
        Assert.That(Thought(body.GetProperty("usage"), "completion"), Is.EqualTo(thought), body.GetRawText());
        JsonElement last = (await api.StreamAsync("/v1/chat/completions", json[..^1] + ""","stream":true,"include_reasoning":false,"stream_options":{"include_usage":true}}"""))[^1];
        Assert.That(Thought(last.GetProperty("usage"), "completion"), Is.EqualTo(thought), "also where they are not told");
        if (outputs > 1)
            return;
        (_, body) = await api.PostAsync("/v1/responses", $$"""{"input":"hi","max_output_tokens":{{mostTokens}}}""");
        Assert.That(Thought(body.GetProperty("usage"), "output"), Is.EqualTo(thought), body.GetRawText());
        GenerateResponse response = await api.Inference.ChatAsync(Request(mostTokens));
        Assert.That(response.Usage.ReasoningTokens, Is.EqualTo(thought));
    }

    [Test]
    public async Task Thoughts_OfAModelThatMarksNone_AreNone()
    {
        await using ApiFixture api = await StartAsync("Sure.", Template);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}}}""");
        Assert.That(Thought(body.GetProperty("usage"), "completion"), Is.Zero);
    }

    // The model wants to stop; what is lowest in the vocabulary is taken where that is not allowed.
    [TestCase("/v1/chat/completions", "auto")]
    [TestCase("/v1/chat/completions", "required")]
    [TestCase("/v1/responses", "auto")]
    [TestCase("/v1/responses", "required")]
    public async Task AllowedTools_OfThePromptsTools_AreAllThatIsCalled(string path, string mode)
    {
        await using ApiFixture api = await StartAsync("<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>", Template);
        bool isChat = path == "/v1/chat/completions";
        string json = isChat
            ? $$$"""{ {{{Hi}}},"tools":{{{Tools}}},"max_tokens":300,"parallel_tool_calls":false,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"{{{mode}}}","tools":[{"type":"function","function":{"name":"light"}}]} } }"""
            : $$$"""{"input":"hi","tools":{{{FlatTools}}},"max_output_tokens":300,"parallel_tool_calls":false,"tool_choice":{"type":"allowed_tools","mode":"{{{mode}}}","tools":[{"type":"function","name":"light"}]}}""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, json);
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        string?[] called = isChat
            ? [.. body.GetProperty("choices")[0].GetProperty("message").GetProperty("tool_calls").EnumerateArray().Select(call => call.GetProperty("function").GetProperty("name").GetString())]
            : [.. body.GetProperty("output").EnumerateArray().Where(item => item.GetProperty("type").GetString() == "function_call").Select(item => item.GetProperty("name").GetString())];
        Assert.That(called, Is.EqualTo(new[] { "light" }), body.GetRawText());
        string prompt = string.Concat(api.Group.Plans.SelectMany(plan => plan.NewSequences).Last().TokenIds.Where(id => id < 256).Select(id => (char)id));
        Assert.That(prompt, Does.Contain("\"stop\""), "the prompt shows every tool, so that its beginning stays in the cache");
    }

    [TestCase("/v1/chat/completions", """{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"none"}}]}}""", "tool_choice")]
    [TestCase("/v1/chat/completions", """{"type":"allowed_tools","allowed_tools":{"mode":"any","tools":[{"type":"function","function":{"name":"light"}}]}}""", "tool_choice.allowed_tools.mode")]
    [TestCase("/v1/chat/completions", """{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}""", "tool_choice.allowed_tools.tools")]
    [TestCase("/v1/chat/completions", """{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"web_search"}]}}""", "tool_choice.allowed_tools.tools[0].type")]
    [TestCase("/v1/chat/completions", """{"type":"allowed_tools"}""", "tool_choice.allowed_tools")]
    [TestCase("/v1/responses", """{"type":"allowed_tools","mode":"auto","tools":[{"type":"function"}]}""", "tool_choice.tools[0].name")]
    public async Task AllowedTools_Wrong_AreRefusedByName(string path, string choice, string field)
    {
        await using ApiFixture api = await StartAsync("x", Template);
        string json = path == "/v1/responses" ? $$"""{"input":"hi","tools":{{FlatTools}},"tool_choice":{{choice}}}""" : $$"""{{{Hi}},"tools":{{Tools}},"tool_choice":{{choice}}}""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, json);
        Assert.That((status, body.GetProperty("error").GetProperty("param").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, field)), body.GetRawText());
    }

    [TestCase("/v1/chat/completions")]
    [TestCase("/v1/responses")]
    [TestCase("/v1/messages")]
    public async Task Stream_ResumedInTheMiddleOfACall_GoesOnWithTheSameDeltas(string path)
    {
        await using ApiFixture api = await StartAsync("Hm.</think>Ok.\n<tool_call>\n{\"name\": \"light\", \"arguments\": {\"on\": true}}\n</tool_call>", Thinks);
        string json = path switch
        {
            "/v1/responses" => $$"""{"input":"hi","stream":true,"tools":{{FlatTools}}}""",
            "/v1/messages" => $$"""{"max_tokens":300,{{Hi}},"stream":true,"tools":[{"name":"light","input_schema":{{Schema}} }]}""",
            _ => $$"""{{{Hi}},"stream":true,"tools":{{Tools}},"stream_options":{"include_usage":true} }""",
        };
        string whole = await (await api.SendAsync(path, json)).Content.ReadAsStringAsync();
        string[] events = whole.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        int[] within = [.. events.Index().Where(one => IdOf(one.Item) is not null && s_ofCalls.Any(word => one.Item.Contains(word, StringComparison.Ordinal))).Select(one => one.Index)];
        Assert.That(within, Has.Length.GreaterThan(3), whole);
        foreach (int seen in within)
        {
            using HttpRequestMessage again = new(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
            again.Headers.Add("Last-Event-ID", IdOf(events[seen]));
            using HttpResponseMessage rest = await api.Http.SendAsync(again);
            string text = await rest.Content.ReadAsStringAsync();
            Assert.That(rest.StatusCode, Is.EqualTo(HttpStatusCode.OK), text);
            Assert.That(text, Is.EqualTo(string.Concat(events.Skip(seen + 1).Select(one => one + "\n\n"))), $"after event {seen}");
        }

        static string? IdOf(string one) => one.Split('\n').FirstOrDefault(line => line.StartsWith("id: ", StringComparison.Ordinal))?["id: ".Length..];
    }

    [Test]
    public async Task ResumeStream_InTheMiddleOfACall_GoesOnWithTheSameDeltas()
    {
        await using ApiFixture api = await StartAsync("Hm.</think>Ok.\n<tool_call>\n{\"name\": \"light\", \"arguments\": {\"on\": true}}\n</tool_call>", Thinks);
        ChatRequest request = Request(300);
        request.RequestId = "mine";
        List<GenerateEvent> whole = await ReadAsync(api.Inference.ChatStream(request));
        Assert.That(whole.Count(happened => happened.Delta?.ToolCalls.Count > 0), Is.GreaterThan(3));
        foreach (GenerateEvent seen in whole.Where(happened => happened.Delta?.ToolCalls.Count > 0))
        {
            List<GenerateEvent> rest = await ReadAsync(api.Inference.ResumeStream(new ResumeStreamRequest { RequestId = "mine", AfterSeq = seen.Seq }));
            Assert.That(rest, Is.EqualTo(whole.SkipWhile(happened => happened.Seq <= seen.Seq)));
        }
    }

    private static int Thought(JsonElement usage, string kind) => usage.GetProperty($"{kind}_tokens_details").GetProperty("reasoning_tokens").GetInt32();

    private static ChatRequest Request(int mostTokens) => new()
    {
        Messages = { new ChatMessage { Role = ChatRole.User, Content = "hi" } },
        Tools = { new Tool { Name = "light", ParametersJsonSchema = Schema } },
        Stopping = new StoppingOptions { MaxTokens = mostTokens },
    };

    private static async Task<List<GenerateEvent>> ReadAsync(AsyncServerStreamingCall<GenerateEvent> call)
    {
        using (call)
        {
            List<GenerateEvent> events = [];
            await foreach (GenerateEvent happened in call.ResponseStream.ReadAllAsync())
                events.Add(happened);
            return events;
        }
    }
}
