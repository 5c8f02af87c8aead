using System.Net;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Checkpoint;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;
using TpServe.Tokenization;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Calls of tools and thoughts, over HTTP and gRPC.</summary>
public sealed class ToolTests
{
    private const string Hermes =
        "{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{%- for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{%- endfor %}{%- endfor %}"
        + "{%- if tools %}{{ tools | tojson }}{%- endif %}{%- if enable_thinking %}{{ reasoning_effort }}{%- endif %}<|assistant|>";

    private const string Thinks = Hermes + "<think>\n{# </think> #}";

    private const string Tools =
        """ "tools":[{"type":"function","function":{"parameters":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false},"name":"light"}},{"type":"function","function":{"name":"stop"}}] """;

    private const string Hi = """ "messages":[{"role":"user","content":"hi"}] """;

    private const string Said = "Sure.\n<tool_call>\n{\"name\": \"light\", \"arguments\": {\"on\": true}}\n</tool_call>\n<tool_call>\n{\"name\": \"stop\", \"arguments\": {}}\n</tool_call>";

    private static ServingSettings Settings { get; } = ApiFixture.Settings with { MaxModelLen = 2048 };

    [Test]
    public async Task Auto_ModelCalls_AreToldOverHttp()
    {
        await using ApiFixture api = await StartAsync(Said, Hermes);
        string json = $$"""{{{Hi}},{{Tools}},"request_id":"r1"}""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", json);
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement choice = body.GetProperty("choices")[0], message = choice.GetProperty("message");
        JsonElement calls = message.GetProperty("tool_calls");
        string[] ids = [.. calls.EnumerateArray().Select(call => call.GetProperty("id").GetString()!)];
        Assert.That(ids, Is.Unique.And.All.Match("^call_[a-zA-Z]{24}$"));
        Assert.That(
            calls.GetRawText(),
            Is.EqualTo($$$"""[{"id":"{{{ids[0]}}}","type":"function","function":{"name":"light","arguments":"{\"on\": true}"}},{"id":"{{{ids[1]}}}","type":"function","function":{"name":"stop","arguments":"{}"}}]"""));
        Assert.That((message.GetProperty("content").GetString(), choice.GetProperty("finish_reason").GetString()), Is.EqualTo(("Sure.", "tool_calls")));

        string text = "", first = "", second = "", finish = "";
        List<string> streamed = [];
        foreach (JsonElement chunk in (await api.StreamAsync("/v1/chat/completions", json[..^1] + ",\"stream\":true}")).Select(chunk => chunk.GetProperty("choices")[0]))
        {
            JsonElement delta = chunk.GetProperty("delta");
            text += delta.TryGetProperty("content", out JsonElement content) ? content.GetString() : "";
            finish = chunk.GetProperty("finish_reason").GetString() ?? finish;
            foreach (JsonElement call in delta.TryGetProperty("tool_calls", out JsonElement some) ? some.EnumerateArray().ToArray() : [])
            {
                if (call.TryGetProperty("id", out JsonElement id))
                    streamed.Add($"{id} {call.GetProperty("type")} {call.GetProperty("function").GetProperty("name")}");
                string arguments = call.GetProperty("function").GetProperty("arguments").GetString()!;
                (first, second) = call.GetProperty("index").GetInt32() == 0 ? (first + arguments, second) : (first, second + arguments);
            }
        }
        Assert.That((text, first, second, finish), Is.EqualTo(("Sure.", "{\"on\": true}", "{}", "tool_calls")));
        Assert.That(streamed, Is.EqualTo(new[] { $"{ids[0]} function light", $"{ids[1]} function stop" }), "a stream has the ids of the plain answer");
    }

    [Test]
    public async Task Auto_ModelCalls_AreToldOverGrpc()
    {
        await using ApiFixture api = await StartAsync(Said, Hermes);
        ChatRequest request = Request();
        GenerateResponse response = await api.Inference.ChatAsync(request);
        Output output = response.Outputs[0];
        Assert.That((output.Text, output.Finished.Reason), Is.EqualTo(("Sure.", FinishReason.ToolCalls)));
        Assert.That(output.ToolCalls.Select(call => (call.Index, call.Name, call.Arguments)), Is.EqualTo(new[] { (0, "light", "{\"on\": true}"), (1, "stop", "{}") }));

        string[] arguments = ["", ""];
        FinishReason reason = FinishReason.Unspecified;
        using AsyncServerStreamingCall<GenerateEvent> stream = api.Inference.ChatStream(request);
        await foreach (GenerateEvent happened in stream.ResponseStream.ReadAllAsync())
        {
            foreach (ToolCall call in happened.Delta?.ToolCalls ?? [])
                arguments[call.Index] += call.Arguments;
            reason = happened.Finished?.Reason ?? reason;
        }
        Assert.That((arguments[0], arguments[1], reason), Is.EqualTo(("{\"on\": true}", "{}", FinishReason.ToolCalls)));
    }

    [Test]
    public async Task Tools_ReachTheTemplateAsTheyAreWritten()
    {
        await using ApiFixture api = await StartAsync("x", Hermes);
        (_, JsonElement body) = await api.PostAsync("/apply-template", $$"""{{{Hi}},{{Tools}}}""");
        Assert.That(body.GetProperty("prompt").GetString(), Is.EqualTo(
            """<|user|>hi[{"type": "function", "function": {"parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false}, "name": "light"}}, {"type": "function", "function": {"name": "stop"}}]<|assistant|>"""));
    }

    [TestCase("high", "high")]
    [TestCase("none", "")]
    public async Task ReasoningEffort_ReachesTheTemplate(string effort, string shown)
    {
        await using ApiFixture api = await StartAsync("x", Hermes);
        (_, JsonElement body) = await api.PostAsync("/apply-template", $$"""{{{Hi}},"reasoning_effort":"{{effort}}"}""");
        Assert.That(body.GetProperty("prompt").GetString(), Is.EqualTo($"<|user|>hi{shown}<|assistant|>"));
        (_, body) = await api.PostAsync("/apply-template", $$$$"""{{{{{Hi}}}},"reasoning_effort":"none","chat_template_kwargs":{"enable_thinking":true}}""");
        Assert.That(body.GetProperty("prompt").GetString(), Is.EqualTo("<|user|>hinone<|assistant|>"), "variables of the request's own win");
    }

    [Test]
    public async Task Outputs_OfOneRequest_HaveCallsOfTheirOwn()
    {
        await using ApiFixture api = await StartAsync(Said, Hermes);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Tools}},"n":2}""");
        string[] ids = [.. body.GetProperty("choices").EnumerateArray().SelectMany(choice => choice.GetProperty("message").GetProperty("tool_calls").EnumerateArray()).Select(call => call.GetProperty("id").GetString()!)];
        Assert.That(ids, Has.Length.EqualTo(4).And.Unique);
    }

    [Test]
    public async Task Thoughts_ThatThePromptBegan_AreToldApart()
    {
        await using ApiFixture api = await StartAsync("Hm. \n</think>\n\n" + Said, Thinks);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Tools}}}""");
        JsonElement message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That(
            (message.GetProperty("reasoning_content").GetString(), message.GetProperty("reasoning").GetString(), message.GetProperty("content").GetString(), message.GetProperty("tool_calls").GetArrayLength()),
            Is.EqualTo(("Hm.", "Hm.", "Sure.", 2)));
        (_, body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},"include_reasoning":false}""");
        message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That((message.TryGetProperty("reasoning_content", out _), message.GetProperty("content").GetString()), Is.EqualTo((false, Said)), "without tools nothing is a call");
        GenerateResponse response = await api.Inference.ChatAsync(Request());
        Assert.That((response.Outputs[0].Reasoning, response.Outputs[0].Text), Is.EqualTo(("Hm.", "Sure.")));
    }

    [Test]
    public async Task ResponseFormat_OfAModelThatThinks_HoldsAfterItsThoughts()
    {
        await using ApiFixture api = await StartAsync("So.</think>\n\n12", Thinks);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$$$$"""{{{{{{Hi}}}}},"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"integer"}}}}""");
        JsonElement message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That((message.GetProperty("reasoning_content").GetString(), message.GetProperty("content").GetString()), Is.EqualTo(("So.", "12")));
    }

    // The model would say something else; what is lowest in the vocabulary is taken where that is not allowed.
    [TestCase("\"tool_choice\":\"required\"", Hermes)]
    [TestCase("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"light\"}}", Hermes)]
    [TestCase("\"tool_choice\":\"required\"", TestModel.Template)]
    [TestCase("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"light\"}}", TestModel.Template)]
    public async Task Choice_OfACall_IsHeldTo(string choice, string template)
    {
        await using ApiFixture api = await StartAsync("I will not.", template);
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Tools}},{{choice}},"max_tokens":200}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That(message.GetProperty("content").ValueKind, Is.EqualTo(JsonValueKind.Null), body.GetRawText());
        JsonElement call = message.GetProperty("tool_calls")[0].GetProperty("function");
        Assert.That(call.GetRawText(), Is.EqualTo("""{"name":"light","arguments":"{\"on\": false}"}"""));
        if (choice.Contains("function", StringComparison.Ordinal))
            Assert.That(message.GetProperty("tool_calls").GetArrayLength(), Is.EqualTo(1));
    }

    [Test]
    public async Task Required_OfAModelThatThinks_ComesAfterItsThoughts()
    {
        await using ApiFixture api = await StartAsync("Which?</think>", Thinks);
        ChatRequest request = Request();
        request.ToolChoice = new ToolChoice { Mode = ToolChoice.Types.Mode.Function, Name = "light" };
        Output output = (await api.Inference.ChatAsync(request)).Outputs[0];
        Assert.That((output.Reasoning, output.Text, output.ToolCalls[0].Arguments), Is.EqualTo(("Which?", "", "{\"on\": false}")));
    }

    [Test]
    public async Task Strict_InAnAutomaticChoice_HoldsArgumentsToTheSchema()
    {
        await using ApiFixture api = await StartAsync("Ok <tool_call>\n{\"name\": \"light\", \"arguments\": {\"off\": 1}}", Hermes);
        string tools = Tools.Replace("\"name\":\"light\"", "\"name\":\"light\",\"strict\":true", StringComparison.Ordinal);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{tools}},"parallel_tool_calls":false}""");
        JsonElement message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That(message.GetProperty("content").GetString(), Is.EqualTo("Ok"));
        Assert.That(message.GetProperty("tool_calls")[0].GetProperty("function").GetProperty("arguments").GetString(), Does.StartWith("{\"on"));
        Assert.That(message.GetProperty("tool_calls").GetArrayLength(), Is.EqualTo(1));
    }

    [Test]
    public async Task Schema_ThatIsNotServed_IsRefusedByToolAndPlace()
    {
        await using ApiFixture api = await StartAsync("x", Hermes);
        const string Not = """ "tools":[{"type":"function","function":{"name":"odd","parameters":{"type":"object","properties":{"a":{"not":{}}}}}}] """;
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Not}},"tool_choice":"required"}""");
        JsonElement error = body.GetProperty("error");
        Assert.That((status, error.GetProperty("param").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "tools")));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("'odd'").And.Contain("'not'").And.Contain("#/properties/a"));
        (status, _) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Not}}}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), "where the model decides nothing is held to it");
    }

    [Test]
    public async Task Tools_BeyondTheLimits_AreRefused()
    {
        await using ApiFixture api = await StartAsync("x", Hermes);
        string many = string.Join(',', Enumerable.Range(0, 129).Select(i => $$$"""{"type":"function","function":{"name":"f{{{i}}}"}}"""));
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},"tools":[{{many}}]}""");
        Assert.That((status, body.GetProperty("error").GetProperty("message").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "'tools' is 129 tools; it must be at most 128.")));
        string large = $$$"""{"type":"function","function":{"name":"f","description":"{{{new string('a', 600_000)}}}"}}""";
        (status, body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},"tools":[{{large}}]}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(body.GetProperty("error").GetProperty("message").GetString(), Does.Contain("600000 characters"));
    }

    [Test]
    public async Task Marks_ThatAreSpecialTokens_AreSeenAndNotShown()
    {
        const int Calls = 260, Think = 261, EndThink = 262;
        Tokenizer tokenizer = Tokenizer.Create(new TokenizerFiles
        {
            Vocabulary = new GgufVocabulary
            {
                Model = "gpt2",
                Pre = "gpt-2",
                Tokens = [.. Enumerable.Range(0, 260).Select(id => TestModel.Tokenizer.TokenText(id)!), "[TOOL_CALLS]", "<think>", "</think>"],
                Types = [.. Enumerable.Repeat(1, 256), 3, 3, 3, 3, 3, 3, 3],
                Merges = [],
                EosId = TestModel.End,
            },
        });
        const string Template = "{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{%- endfor %}{%- if tools %}{{ tools | tojson }}{%- endif %}<|assistant|>{# [TOOL_CALLS] <think> </think> #}";
        ServingModel model = TestModel.Model() with { Tokenizer = tokenizer, ChatTemplate = ChatTemplate.Parse(Template) };
        int[] says = [Think, 'H', 'm', EndThink, .. Ids("ok "), Calls, .. Ids("[{\"name\": \"light\", \"arguments\": {\"on\": true}}]"), Calls, 'x', TestModel.End];
        FakeWorkerGroup group = new(kvBlocks: 1024) { NextToken = (sequence, tokens) => says[Math.Min(tokens.Count - sequence.Sampling.PromptTokens, says.Length - 1)] };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: Settings, model: model);
        (_, JsonElement body) = await api.PostAsync("/v1/chat/completions", $$"""{{{Hi}},{{Tools}}}""");
        JsonElement message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That(
            (message.GetProperty("reasoning_content").GetString(), message.GetProperty("content").GetString(), message.GetProperty("tool_calls")[0].GetProperty("function").GetProperty("arguments").GetString()),
            Is.EqualTo(("Hm", "okx", "{\"on\": true}")));
        (_, body) = await api.PostAsync("/v1/chat/completions", $$$$"""{{{{{Hi}}}},{{{{Tools}}}},"tool_choice":{"type":"function","function":{"name":"light"}}}""");
        message = body.GetProperty("choices")[0].GetProperty("message");
        Assert.That(
            (message.GetProperty("reasoning_content").GetString(), message.GetProperty("tool_calls")[0].GetProperty("function").GetProperty("arguments").GetString()),
            Is.EqualTo(("Hm", "{\"on\": false}")), "a required call begins with its token, and thoughts may come before it");
        IEnumerable<int> made = group.Plans.SelectMany(plan => plan.NewSequences).Last().TokenIds;
        Assert.That(made, Does.Not.Contain(Calls));

        static int[] Ids(string text) => [.. text.Select(letter => (int)letter)];
    }

    // A template that knows nothing of tools is told of them in words.
    [Test]
    public async Task Conversation_OfATemplateWithoutTools_IsToldInWords()
    {
        await using ApiFixture api = await StartAsync("x", TestModel.Template);
        (_, JsonElement body) = await api.PostAsync("/apply-template", $$$"""
            {"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"},
             {"role":"assistant","content":"Ok.","tool_calls":[{"id":"c1","type":"function","function":{"name":"light","arguments":"{\"on\":true}"}},{"id":"c2","type":"function","function":{"name":"stop","arguments":""}}]},
             {"role":"tool","tool_call_id":"c1","content":"on"},{"role":"tool","tool_call_id":"c2","content":"stopped"}],{{{Tools}}}}
            """);
        Assert.That(body.GetProperty("prompt").GetString(), Is.EqualTo(
            "<|system|>Be brief.\n\nYou can call functions. These are available, each with the JSON Schema of its arguments:\n"
            + "{\"name\": \"light\", \"parameters\": {\"type\":\"object\",\"properties\":{\"on\":{\"type\":\"boolean\"}},\"required\":[\"on\"],\"additionalProperties\":false}}\n"
            + "{\"name\": \"stop\", \"parameters\": {\"type\":\"object\",\"additionalProperties\":false}}\n"
            + "To call functions, answer with nothing but the calls, each in this form:\n{\"name\": \"function_name\", \"arguments\": {\"argument\": \"value\"}}\nWhere no function helps, answer in words."
            + "<|user|>hi<|assistant|>Ok.\n{\"name\": \"light\", \"arguments\": {\"on\":true}}\n{\"name\": \"stop\", \"arguments\": {}}"
            + "<|user|>Result of light:\non\n\nResult of stop:\nstopped<|assistant|>"));
    }

    [Test]
    public async Task History_OfATemplateWithTools_IsWrittenByIt()
    {
        await using ApiFixture api = await StartAsync("x", Hermes);
        (_, JsonElement body) = await api.PostAsync("/apply-template", """
            {"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"light","arguments":"{\"on\":true}"}}]},
             {"role":"tool","tool_call_id":"c1","content":"on"}]}
            """);
        Assert.That(body.GetProperty("prompt").GetString(), Is.EqualTo("<|user|>hi<|assistant|><tool_call>\n{\"name\": \"light\", \"arguments\": {\"on\": true}}\n</tool_call><|tool|>on<|assistant|>"));
    }

    private static Task<ApiFixture> StartAsync(string says, string template) => ApiFixture.StartAsync(
        group: new FakeWorkerGroup(kvBlocks: 1024) { NextToken = FakeWorkerGroup.Says(says) }, settings: Settings, model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(template) });

    private static ChatRequest Request() => new()
    {
        Messages = { new ChatMessage { Role = ChatRole.User, Content = "hi" } },
        Tools =
        {
            new Tool { Name = "light", ParametersJsonSchema = """{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}""" },
            new Tool { Name = "stop" },
        },
    };
}
