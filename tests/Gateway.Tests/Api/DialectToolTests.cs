using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.ChatTemplates;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Calls and thoughts of a scripted model through each dialect, and the next turn with what the calls came to.</summary>
public sealed class DialectToolTests
{
    private const string Template =
        "{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{%- for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{%- endfor %}{%- endfor %}"
        + "{%- if tools %}{{ tools | tojson }}{%- endif %}<|assistant|>{# <think> </think> #}";

    private const string Said = "<think>\nLet me see.\n</think>\n\nSure.\n<tool_call>\n{\"name\": \"light\", \"arguments\": {\"on\": true}}\n</tool_call>";

    private const string Schema = """{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}""";

    private static Task<ApiFixture> StartAsync(string says = Said, string template = Template) => ApiFixture.StartAsync(
        group: new FakeWorkerGroup(kvBlocks: 1024) { NextToken = FakeWorkerGroup.Says(says) }, settings: ApiFixture.Settings with { MaxModelLen = 2048 },
        model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(template) });

    private static string LastPrompt(ApiFixture api) =>
        string.Concat(api.Group.Plans.SelectMany(plan => plan.NewSequences).Last().TokenIds.Select(id => id < 256 ? ((char)id).ToString() : id == TestModel.User ? "<|user|>" : "<|assistant|>"));

    [Test]
    public async Task Responses_Calls_ComeAndTheirResultsGoOn()
    {
        await using ApiFixture api = await StartAsync();
        const string Tools = $$"""[{"type":"function","name":"light","parameters":{{Schema}}}]""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/responses", "{\"input\":\"hi\",\"tools\":" + Tools + "}");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement[] output = [.. body.GetProperty("output").EnumerateArray()];
        Assert.That(output.Select(item => item.GetProperty("type").GetString()), Is.EqualTo(new[] { "reasoning", "message", "function_call" }), body.GetRawText());
        Assert.That(output[0].GetProperty("content")[0].GetProperty("text").GetString()!.Trim(), Is.EqualTo("Let me see."));
        Assert.That(output[1].GetProperty("content")[0].GetProperty("text").GetString()!.Trim(), Is.EqualTo("Sure."));
        Assert.That((output[2].GetProperty("name").GetString(), output[2].GetProperty("arguments").GetString()), Is.EqualTo(("light", "{\"on\": true}")));
        Assert.That(body.GetProperty("status").GetString(), Is.EqualTo("completed"));
        Assert.That(body.GetProperty("tools").GetRawText(), Is.EqualTo(Tools));

        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/responses", "{\"stream\":true,\"input\":\"hi\",\"tools\":" + Tools + "}");
        Assert.That(string.Concat(events.Where(one => one.Name == "response.function_call_arguments.delta").Select(one => one.Data.GetProperty("delta").GetString())), Is.EqualTo("{\"on\": true}"));
        Assert.That(events.Select(one => one.Name), Does.Contain("response.reasoning_text.delta"));
        Assert.That(events[^1].Name, Is.EqualTo("response.completed"));

        string id = body.GetProperty("id").GetString()!, call = output[2].GetProperty("call_id").GetString()!;
        (status, JsonElement next) = await api.PostAsync(
            "/v1/responses", $$"""{"previous_response_id":"{{id}}","input":[{"type":"function_call_output","call_id":"{{call}}","output":"done"}]}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), next.GetRawText());
        Assert.That(LastPrompt(api), Does.Contain("\"name\": \"light\"").And.Contain("<|tool|>done"));
    }

    [Test]
    public async Task Messages_Calls_ComeAndTheirResultsGoOn()
    {
        await using ApiFixture api = await StartAsync();
        const string Rest = $$"""{"max_tokens":500,"tools":[{"name":"light","input_schema":{{Schema}}}],"messages":[{"role":"user","content":"hi"}]""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/messages", Rest + "}");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement[] content = [.. body.GetProperty("content").EnumerateArray()];
        Assert.That(content.Select(block => block.GetProperty("type").GetString()), Is.EqualTo(new[] { "thinking", "text", "tool_use" }), body.GetRawText());
        Assert.That(content[2].GetProperty("input").GetProperty("on").GetBoolean(), Is.True);
        Assert.That(content[2].GetProperty("id").GetString(), Does.StartWith("toolu_"));
        Assert.That(body.GetProperty("stop_reason").GetString(), Is.EqualTo("tool_use"));

        List<(string Name, JsonElement Data)> events = await api.NamedStreamAsync("/v1/messages", Rest + ",\"stream\":true}");
        Assert.That(
            string.Concat(events.Where(one => one.Name == "content_block_delta" && one.Data.GetProperty("index").GetInt32() == 2).Select(one => one.Data.GetProperty("delta").GetProperty("partial_json").GetString())),
            Is.EqualTo("{\"on\": true}"));
        Assert.That(events[^2].Data.GetProperty("delta").GetProperty("stop_reason").GetString(), Is.EqualTo("tool_use"));

        (status, JsonElement next) = await api.PostAsync(
            "/v1/messages",
            $$"""{"max_tokens":1,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":{{body.GetProperty("content").GetRawText()}}},{"role":"user","content":[{"type":"tool_result","tool_use_id":"{{content[2].GetProperty("id").GetString()}}","content":"done"}]}]}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), next.GetRawText());
        Assert.That(LastPrompt(api), Does.Contain("\"name\": \"light\"").And.Contain("<|tool|>done"));

        (_, JsonElement plain) = await api.PostAsync("/v1/messages/count_tokens", """{"messages":[{"role":"user","content":"hi"}]}""");
        (_, JsonElement counted) = await api.PostAsync("/v1/messages/count_tokens", Rest + "}");
        Assert.That(counted.GetProperty("input_tokens").GetInt32(), Is.GreaterThan(plain.GetProperty("input_tokens").GetInt32() + Schema.Length), "tools are counted");
    }

    [Test]
    public async Task Ollama_Calls_ComeWholeAndTheirResultsGoOn()
    {
        await using ApiFixture api = await StartAsync();
        const string Rest = $$"""{"tools":[{"type":"function","function":{"name":"light","parameters":{{Schema}} } }],"messages":[{"role":"user","content":"hi"}""";
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/api/chat", Rest + "],\"stream\":false}");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement message = body.GetProperty("message");
        Assert.That((message.GetProperty("content").GetString()!.Trim(), message.GetProperty("thinking").GetString()!.Trim()), Is.EqualTo(("Sure.", "Let me see.")));
        Assert.That(message.GetProperty("tool_calls")[0].GetProperty("function").GetRawText(), Is.EqualTo("""{"index":0,"name":"light","arguments":{"on":true}}"""));
        Assert.That(body.GetProperty("done_reason").GetString(), Is.EqualTo("stop"));

        List<JsonElement> lines = await api.LinesAsync("/api/chat", Rest + "]}");
        JsonElement[] calls = [.. lines.Select(line => line.GetProperty("message")).Where(one => one.TryGetProperty("tool_calls", out _))];
        Assert.That(calls.Single().GetProperty("tool_calls")[0].GetProperty("function").GetProperty("arguments").GetRawText(), Is.EqualTo("""{"on":true}"""));

        (status, JsonElement next) = await api.PostAsync(
            "/api/chat", Rest + "," + message.GetRawText() + """,{"role":"tool","tool_name":"light","content":"done"}],"stream":false,"options":{"num_predict":1}}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), next.GetRawText());
        Assert.That(LastPrompt(api), Does.Contain("\"name\": \"light\"").And.Contain("<|tool|>done"));
    }

    [TestCase("/v1/responses", """{"input":"hi","tools":[{"type":"function","name":"light","parameters":SCHEMA}],"tool_choice":"required"}""", "arguments")]
    [TestCase("/v1/messages", """{"max_tokens":500,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"light","input_schema":SCHEMA}],"tool_choice":{"type":"tool","name":"light","disable_parallel_tool_use":true}}""", "input")]
    public async Task Choice_OfACall_HoldsTheModelToIt(string path, string json, string member)
    {
        await using ApiFixture api = await StartAsync("No.", Template.Replace("{# <think> </think> #}", "", StringComparison.Ordinal));
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, json.Replace("SCHEMA", Schema, StringComparison.Ordinal));
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
        JsonElement call = body.GetProperty(path == "/v1/messages" ? "content" : "output").EnumerateArray().Last();
        using JsonDocument arguments = JsonDocument.Parse(call.GetProperty(member) is { ValueKind: JsonValueKind.String } text ? text.GetString()! : call.GetProperty(member).GetRawText());
        Assert.That((call.GetProperty("name").GetString(), arguments.RootElement.GetProperty("on").ValueKind), Is.EqualTo(("light", JsonValueKind.True)).Or.EqualTo(("light", JsonValueKind.False)));
    }

    [TestCase("/v1/responses", """{"input":"hi","tools":[{"type":"function","name":"a b"}]}""", "tools[0].name")]
    [TestCase("/v1/responses", """{"input":"hi","tools":[{"type":"function","name":"f","parameters":{"type":"array"}}]}""", "tools[0].parameters")]
    [TestCase("/v1/responses", """{"input":"hi","reasoning":{"effort":"huge"}}""", "reasoning.effort")]
    [TestCase("/v1/messages", """{"max_tokens":1,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"f","input_schema":{"type":"array"}}]}""", "tools[0].input_schema")]
    public async Task Tool_Wrong_IsNamedByTheDialectsField(string path, string json, string field)
    {
        await using ApiFixture api = await StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, json);
        Assert.That((status, body.GetProperty("error").GetProperty("param").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, field)), body.GetRawText());
        Assert.That(body.GetProperty("error").GetProperty("message").GetString(), Does.Contain($"'{field}'"));
    }
}
