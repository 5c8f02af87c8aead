using System.Net;
using System.Text.Json;
using NUnit.Framework;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Bad input in each dialect: its own body, the field by its own name, and nothing passed over that would change the answer.</summary>
public sealed class DialectErrorTests
{
    private ApiFixture _api = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _api = await ApiFixture.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await _api.DisposeAsync();

    [TestCase("""{"input":7}""", "input", "string or an array")]
    [TestCase("""{"input":"a","model":"other"}""", "model", "test-model")]
    [TestCase("""{"input":"a","temperature":-1}""", "temperature", "0 to 100")]
    [TestCase("""{"input":"a","max_output_tokens":500}""", "max_output_tokens", "'max_output_tokens' is 500")]
    [TestCase("""{"input":[]}""", "input", "1 to 4096")]
    [TestCase("""{"input":["a"]}""", "input[0]", "object")]
    [TestCase("""{"input":[{"role":"user"}]}""", "input[0].content", "must be set")]
    [TestCase("""{"input":[{"content":"a"}]}""", "input[0].role", "not given")]
    [TestCase("""{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}""", "input[0].content[0].type", "not implemented")]
    [TestCase("""{"input":[{"role":"user","content":[{"type":"input_text"}]}]}""", "input[0].content[0].text", "must be set")]
    [TestCase("""{"input":[{"type":"item_reference","id":"x"}]}""", "input[0].type", "not implemented")]
    [TestCase("""{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"[1]"}]}""", "input[0].arguments", "JSON object")]
    [TestCase("""{"input":[{"type":"function_call_output","call_id":"c"}]}""", "input[0].output", "must be set")]
    [TestCase("""{"input":"\ud800"}""", "input", "surrogate")]
    [TestCase("""{"input":[{"role":"user","content":"a","extra":"\ud800"}]}""", "input[0].extra", "surrogate")]
    [TestCase("""{"input":[{"role":"user","content":"a","extra":1,"extra":2}]}""", "input[0]", "twice")]
    [TestCase("""{"input":"a","tools":[{"type":"function","name":"f","parameters":{"a":"\ud800"}}]}""", "tools[0].parameters.a", "surrogate")]
    [TestCase("""{"input":[{"t\udc00":1,"role":"user","content":"a"}]}""", "input[0]", "surrogate")]
    [TestCase("""{"input":"a","include":[null]}""", "include[0]", "must be a string")]
    [TestCase("""{"input":"a","background":true}""", "background", "not implemented")]
    [TestCase("""{"input":"a","include":["reasoning.encrypted_content"]}""", "include[0]", "not implemented")]
    [TestCase("""{"input":"a","truncation":"auto"}""", "truncation", "not implemented")]
    [TestCase("""{"input":"a","text":{"verbosity":"low"}}""", "text.verbosity", "not implemented")]
    [TestCase("""{"input":"a","text":{"format":{"type":"json_schema"}}}""", "text.format.schema", "object")]
    [TestCase("""{"input":"a","text":{"format":{"type":"json_schema","schema":{"type":"object","not":{}}}}}""", "text.format.schema", "not")]
    [TestCase("""{"input":"a","reasoning":{"effort":"huge"}}""", "reasoning.effort", "'huge'")]
    [TestCase("""{"input":"a","tools":[{"type":"web_search"}]}""", "tools[0].type", "not implemented")]
    [TestCase("""{"input":"a","tools":[{"type":"function"}]}""", "tools[0].name", "must be set")]
    [TestCase("""{"input":"a","tool_choice":{"type":"custom"}}""", "tool_choice.type", "not implemented")]
    [TestCase("""{"input":"a","conversation":"c"}""", "conversation", "not implemented")]
    [TestCase("""{"input":"a","n":2}""", "n", "not implemented")]
    [TestCase("""{"input":"a","previous_response_id":"resp_none"}""", "previous_response_id", "'resp_none'")]
    public async Task Responses_BadInput_NamesFieldAndLimit(string json, string field, string message)
    {
        (HttpStatusCode status, JsonElement body) = await _api.PostAsync("/v1/responses", json);
        JsonElement error = body.GetProperty("error");
        Assert.That((int)status, Is.InRange(400, 404));
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(field), body.GetRawText());
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message));
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("invalid_request_error"));
    }

    [TestCase("""{"messages":[{"role":"user","content":"a"}]}""", "max_tokens", "must be set")]
    [TestCase("""{"max_tokens":1}""", "messages", "1 to 4096")]
    [TestCase("""{"max_tokens":1,"messages":[null]}""", "messages[0]", "object")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"tool","content":"a"}]}""", "messages[0].role", "user or assistant")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":5}]}""", "messages[0].content", "string or an array")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[]}]}""", "messages[0].content", "empty")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]}""", "messages[0].content[0].type", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"document"}]}]}""", "messages[0].content[0].type", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_use"}]}]}""", "messages[0].content[0].type", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":1}]}]}""", "messages[0].content[0].input", "object")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","content":"a"}]}]}""", "messages[0].content[0].tool_use_id", "must be set")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"image"}]}]}]}""", "messages[0].content[0].content[0].type", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"stop_sequences":[""]}""", "stop_sequences", "1 to 256 bytes")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"stop_sequences":["a",null]}""", "stop_sequences", "array of strings")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":[{"t\udc00":1,"type":"text","text":"a"}]}]}""", "messages[0].content[0]", "surrogate")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"name":"f","input_schema":{"type":"\ud800"}}]}""", "tools[0].input_schema.type", "surrogate")]
    [TestCase("""{"max_tokens":500,"messages":[{"role":"user","content":"a"}]}""", "max_tokens", "room for")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"name":"f","type":"bash_20250124"}]}""", "tools[0].type", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"some"}}""", "tool_choice.type", "auto, any, tool or none")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"thinking":{"type":"maybe"}}""", "thinking.type", "enabled, disabled")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"mcp_servers":[{"url":"x"}]}""", "mcp_servers", "not implemented")]
    [TestCase("""{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"output_config":{"format":{"type":"xml"}}}""", "output_config.format.type", "not implemented")]
    public async Task Messages_BadInput_NamesFieldAndLimit(string json, string field, string message)
    {
        using HttpResponseMessage response = await _api.SendAsync("/v1/messages", json);
        JsonElement body = await ApiFixture.BodyAsync(response), error = body.GetProperty("error");
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(body.GetProperty("type").GetString(), Is.EqualTo("error"));
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("invalid_request_error"));
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(field), body.GetRawText());
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message));
        Assert.That(response.Headers.GetValues("request-id").Single(), Is.EqualTo(body.GetProperty("request_id").GetString()));
    }

    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a","images":["x"]}]}""", 400, "'messages[0].images'")]
    [TestCase("/api/chat", """{"messages":[{"content":"a"}]}""", 400, "'messages[0].role'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"options":{"mirostat":2}}""", 400, "'options.mirostat'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"options":{"repeat_last_n":64}}""", 400, "'options.repeat_last_n'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"options":{"num_ctx":4096}}""", 400, "'options.num_ctx' is 4096")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"options":{"num_predict":4096}}""", 400, "'options.num_predict' is 4096")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"options":{"temperature":-1}}""", 400, "'options.temperature' is -1")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"format":"xml"}""", 400, "'format'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"format":{"type":"object","not":{}}}""", 400, "'format'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"model":"other:latest"}""", 404, "'other'")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"think":5}""", 400, "'think'")]
    [TestCase("/api/chat", """{"messages":""", 400, "not JSON")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"\ud800":1}}}]}""", 400, "'tools[0].function.parameters'")]
    [TestCase("/api/generate", """{"prompt":"a","suffix":"b"}""", 400, "'suffix'")]
    [TestCase("/api/generate", """{"prompt":"a","template":"b"}""", 400, "'template'")]
    [TestCase("/api/generate", """{"prompt":"a","context":[1]}""", 400, "'context'")]
    [TestCase("/api/generate", """{"prompt":"a","images":["b"]}""", 400, "'images'")]
    [TestCase("/api/generate", """{"prompt":"a","raw":true,"system":"b"}""", 400, "'system'")]
    [TestCase("/api/show", """{"model":"other"}""", 404, "'other'")]
    public async Task Ollama_BadInput_NamesFieldAndLimit(string path, string json, int expected, string message)
    {
        (HttpStatusCode status, JsonElement body) = await _api.PostAsync(path, json);
        Assert.That((int)status, Is.EqualTo(expected), body.GetRawText());
        Assert.That(body.EnumerateObject().Single().Name, Is.EqualTo("error"));
        Assert.That(body.GetProperty("error").GetString(), Does.Contain(message));
    }

    [TestCase("/v1/responses", """{"input":"a","max_output_tokens":2,"tools":[],"include":[],"background":false,"truncation":"disabled","service_tier":"auto","prompt_cache_key":"x","unknown":1,"conversation":null}""")]
    [TestCase("/v1/messages", """{"max_tokens":2,"messages":[{"role":"user","content":"a"}],"tools":[],"service_tier":"auto","container":null,"thinking":{"type":"disabled"},"unknown":1}""")]
    [TestCase("/api/chat", """{"messages":[{"role":"user","content":"a","images":[]}],"stream":false,"tools":[],"truncate":true,"unknown":1,"options":{"num_predict":2,"num_gpu":1,"num_keep":4,"mirostat":null}}""")]
    [TestCase("/api/generate", """{"prompt":"a","stream":false,"suffix":"","template":"","context":[],"images":[],"options":{"num_predict":2}}""")]
    public async Task Dialect_FieldsThatAskForNothing_AreAccepted(string path, string json)
    {
        (HttpStatusCode status, JsonElement body) = await _api.PostAsync(path, json);
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
    }

    [TestCase("/v1/messages", "error.type", "invalid_request_error")]
    [TestCase("/v1/responses", "error.code", "method_not_allowed")]
    [TestCase("/api/chat", "error", null)]
    public async Task Dialect_WrongMethod_IsToldInItsOwnBody(string path, string member, string? value)
    {
        using HttpResponseMessage response = await _api.Http.GetAsync(path);
        Assert.That((int)response.StatusCode, Is.EqualTo(405));
        JsonElement at = member.Split('.').Aggregate(await ApiFixture.BodyAsync(response), (element, name) => element.GetProperty(name));
        Assert.That(at.GetString(), value is null ? Does.Contain("/api/chat") : Is.EqualTo(value));
    }
}
