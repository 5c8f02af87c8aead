using System.Net;
using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Every kind of bad input: its status, the field it names, and a good request after it.</summary>
public sealed class HttpErrorTests
{
    private ApiFixture _api = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _api = await ApiFixture.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync() => await _api.DisposeAsync();

    [TestCase("", 400, "body", "empty")]
    [TestCase("null", 400, "body", "null")]
    [TestCase("[]", 400, "body", "JSON object")]
    [TestCase("{\"prompt\":\"a\",", 400, "body", "line 1, byte")]
    [TestCase("{\n\"prompt\": nope}", 400, "body", "line 2, byte 12")]
    [TestCase("""{"prompt":"a","temperature":"hot"}""", 400, "temperature", "wrong type")]
    [TestCase("""{"prompt":"a","temperature":-1}""", 400, "temperature", "0 to 100")]
    [TestCase("""{"prompt":"a","temperature":1e999}""", 400, "temperature", "0 to 100")]
    [TestCase("""{"prompt":"a","temperature":NaN}""", 400, "body", "line 1")]
    [TestCase("""{"prompt":"a","top_p":1.5}""", 400, "top_p", "0 to 1")]
    [TestCase("""{"prompt":"a","top_k":-2}""", 400, "top_k", "0 or more")]
    [TestCase("""{"prompt":"a","min_p":2}""", 400, "min_p", "0 to 1")]
    [TestCase("""{"prompt":"a","presence_penalty":3}""", 400, "presence_penalty", "-2 to 2")]
    [TestCase("""{"prompt":"a","frequency_penalty":-3}""", 400, "frequency_penalty", "-2 to 2")]
    [TestCase("""{"prompt":"a","repetition_penalty":0}""", 400, "repetition_penalty", "above 0")]
    [TestCase("""{"prompt":"a","n":9}""", 400, "n", "1 to 8")]
    [TestCase("""{"prompt":"a","n":0}""", 400, "n", "1 to 8")]
    [TestCase("""{"prompt":"a","seed":99999999999999999999999}""", 400, "seed", "64 bits")]
    [TestCase("""{"prompt":"a","logit_bias":{"x":1}}""", 400, "logit_bias", "token ids")]
    [TestCase("""{"prompt":"a","logit_bias":{"5":101}}""", 400, "logit_bias", "-100 to 100")]
    [TestCase("""{"prompt":"a","logit_bias":{"9999":1}}""", 400, "logit_bias", "vocabulary")]
    [TestCase("""{"prompt":"a","allowed_token_ids":[]}""", 400, "allowed_token_ids", "at least one")]
    [TestCase("""{"prompt":"a","allowed_token_ids":[264]}""", 400, "allowed_token_ids", "0 to 263")]
    [TestCase("""{"prompt":"a","allowed_token_ids":[256],"min_tokens":1,"max_tokens":4}""", 400, "allowed_token_ids", "end token")]
    [TestCase("""{"prompt":"a","max_tokens":-1}""", 400, "max_tokens", "0 or more")]
    [TestCase("""{"prompt":"a","max_tokens":128}""", 400, "max_tokens", "room for 127")]
    [TestCase("""{"prompt":"a","max_tokens":99999999999}""", 400, "max_tokens", "range")]
    [TestCase("""{"prompt":"a","max_tokens":3,"min_tokens":4}""", 400, "min_tokens", "max_tokens (3)")]
    [TestCase("""{"prompt":"a","stop":5}""", 400, "stop", "wrong type")]
    [TestCase("""{"prompt":"a","stop":""}""", 400, "stop", "1 to 256 bytes")]
    [TestCase("""{"prompt":"a","stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}""", 400, "stop", "at most 16")]
    [TestCase("""{"prompt":"a","stop_token_ids":[-1]}""", 400, "stop_token_ids", "vocabulary")]
    [TestCase("""{"prompt":"a","logprobs":21}""", 400, "logprobs", "0 to 20")]
    [TestCase("""{"prompt":"a","prompt_logprobs":21}""", 400, "prompt_logprobs", "0 to 20")]
    [TestCase("""{"prompt":"a","stream_options":{"include_usage":true}}""", 400, "stream_options", "stream")]
    [TestCase("""{"prompt":"a","request_id":"a b"}""", 400, "request_id", "printable")]
    [TestCase("""{}""", 400, "prompt", "No 'prompt'")]
    [TestCase("""{"prompt":""}""", 400, "prompt", "no tokens")]
    [TestCase("""{"prompt":[]}""", 400, "prompt", "empty")]
    [TestCase("""{"prompt":{}}""", 400, "prompt", "must be a string")]
    [TestCase("""{"prompt":[1,"a"]}""", 400, "prompt", "must be a string")]
    [TestCase("""{"prompt":[1.5]}""", 400, "prompt", "must be a string")]
    [TestCase("""{"prompt":[264]}""", 400, "prompt", "0 to 263")]
    [TestCase("""{"prompt":[-1]}""", 400, "prompt", "0 to 263")]
    [TestCase("""{"prompt":"\ud800"}""", 400, "prompt", "surrogate")]
    [TestCase("""{"prompt":"a","stop":"\ud800"}""", 400, "stop", "wrong type")]
    [TestCase("""{"prompt":"a","model":"\ud800"}""", 400, "model", "wrong type")]
    [TestCase("""{"\ud800":1}""", 400, "body", "line 1")]
    [TestCase("""{"prompt":"a","response_format":{"type":"\ud800"}}""", 400, "response_format.type", "surrogate")]
    [TestCase("""{"prompt":"a","response_format":{"t\udc00":1}}""", 400, "response_format", "surrogate")]
    [TestCase("""{"prompt":"a","structured_outputs":{"\ud800":1}}""", 400, "structured_outputs", "surrogate")]
    [TestCase("""{"prompt":"a","unknown":[0,{"a":["\ud83d\ude00",{"b":1},"\ud83d"]}]}""", 400, "unknown[1].a[2]", "surrogate")]
    [TestCase("""{"prompt":"a","model":"other"}""", 404, "model", "test-model")]
    [TestCase("""{"prompt":"a","suffix":"b"}""", 400, "suffix", "not implemented")]
    [TestCase("""{"prompt":"a","best_of":2}""", 400, "best_of", "not implemented")]
    [TestCase("""{"prompt":"a","priority":101}""", 400, "priority", "-100 to 100")]
    [TestCase("""{"prompt":"a","draft_tokens":17}""", 400, "draft_tokens", "0 to 16")]
    public async Task Completion_BadInput_NamesFieldAndLimit(string json, int status, string field, string message) =>
        await CheckAsync("/v1/completions", json, status, field, message);

    [TestCase("""{}""", 400, "messages", "1 to 4096")]
    [TestCase("""{"messages":[null]}""", 400, "messages[0]", "object")]
    [TestCase("""{"messages":[{"role":"","content":"a"}]}""", 400, "messages[0].role", "1 to 64 characters")]
    [TestCase("""{"messages":[{"content":"a"}]}""", 400, "messages[0].role", "not given")]
    [TestCase("""{"messages":[{"role":"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggg","content":"a"}]}""", 400, "messages[0].role", "'aaaaaaaaaab")]
    [TestCase("""{"messages":[{"role":"user"}]}""", 400, "messages[0].content", "must be set")]
    [TestCase("""{"messages":[{"role":"user","content":"a","tool_calls":[{}]}]}""", 400, "messages[0].tool_calls[0].function", "must be an object")]
    [TestCase("""{"messages":[{"role":"user","content":"a","tool_calls":[{"function":{"name":"f"}}]}]}""", 400, "messages[0].tool_calls", "only the assistant")]
    [TestCase("""{"messages":[{"role":"assistant","tool_calls":[{"type":"custom","function":{"name":"f"}}]}]}""", 400, "messages[0].tool_calls[0].type", "not implemented")]
    [TestCase("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}]}""", 400, "messages[0].tool_calls[0].function.arguments", "JSON object")]
    [TestCase("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":\"\\ud800\"}"}}]}]}""", 400, "messages[0].tool_calls[0].function.arguments", "JSON object")]
    [TestCase("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}]}""", 400, "messages[0].tool_calls[0].function.name", "must be set")]
    [TestCase("""{"messages":[{"role":"assistant","function_call":{"name":"f"}}]}""", 400, "messages[0].function_call", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":5}]}""", 400, "messages[0].content", "string or an array")]
    [TestCase("""{"messages":[{"role":"user","content":"\udc00"}]}""", 400, "messages[0].content", "surrogate")]
    [TestCase("""{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}""", 400, "messages[0].content[0].type", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"top_logprobs":2}""", 400, "top_logprobs", "needs 'logprobs'")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}""", 400, "tools[0].function", "must be an object")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":{}}""", 400, "tools", "must be an array")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"custom","custom":{"name":"f"}}]}""", 400, "tools[0].type", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a b"}}]}""", 400, "tools[0].function.name", "1 to 64 of")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}},{"function":{"name":"f"}}]}""", 400, "tools[1].function.name", "another tool's")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","parameters":[]}}]}""", 400, "tools[0].function.parameters", "type object")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","parameters":{"type":"string"}}}]}""", 400, "tools[0].function.parameters", "type object")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","strict":1}}]}""", 400, "tools[0].function.strict", "true or false")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":"sometimes"}""", 400, "tool_choice", "'sometimes'")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":5}""", 400, "tool_choice", "word or an object")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"custom"}}""", 400, "tool_choice.type", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}""", 400, "tool_choice", "'g'")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"tool_choice":"required"}""", 400, "tool_choice", "'tools' has none")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"functions":[{"name":"f"}]}""", 400, "functions", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"function_call":{"name":"f"}}""", 400, "function_call", "not implemented")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"huge"}""", 400, "reasoning_effort", "none, minimal, low, medium, high")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":7}""", 400, "chat_template_kwargs", "object")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"a":"\ud800"}}""", 400, "chat_template_kwargs.a", "surrogate")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"\ud800":1}}""", 400, "chat_template_kwargs", "surrogate")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"a":[1e999]}}""", 400, "chat_template_kwargs", "cannot be read")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"max_tokens":1,"max_completion_tokens":2}""", 400, "max_completion_tokens", "one of them")]
    [TestCase("""{"messages":[{"role":"user","content":"a"}],"add_generation_prompt":true,"continue_final_message":true}""", 400, "continue_final_message", "exclude")]
    public async Task Chat_BadInput_NamesFieldAndLimit(string json, int status, string field, string message) =>
        await CheckAsync("/v1/chat/completions", json, status, field, message);

    [TestCase("/tokenize", """{}""", 400, "prompt", "Exactly one")]
    [TestCase("/tokenize", """{"prompt":"a","model":"other"}""", 404, "model", "test-model")]
    [TestCase("/detokenize", """{}""", 400, "tokens", "must be given")]
    [TestCase("/detokenize", """{"tokens":[264]}""", 400, "tokens", "0 to 263")]
    public async Task Tokenizer_BadInput_NamesFieldAndLimit(string path, string json, int status, string field, string message) =>
        await CheckAsync(path, json, status, field, message);

    [TestCase("""{"prompt":"a","max_tokens":2,"response_format":{"type":"text"},"best_of":1,"suffix":null,"tools":[],"unknown_field":[1]}""")]
    [TestCase("""
        {"prompt":"a","max_tokens":2,"temperature":null,"top_k":null,"seed":null,"n":null,"logit_bias":null,"allowed_token_ids":null,"stop":null,"stop_token_ids":null,
         "ignore_eos":null,"logprobs":null,"prompt_logprobs":null,"return_token_ids":null,"stream":null,"stream_options":null,"request_id":null,"model":null}
        """)]
    public async Task Completion_FieldsThatAskForNothing_AreAccepted(string json)
    {
        (HttpStatusCode status, JsonElement body) = await _api.PostAsync("/v1/completions", json);
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
    }

    [Test]
    public async Task Completion_NestedTooDeep_IsRefused() => await CheckAsync(
        "/v1/completions", $$"""{"prompt":{{new string('[', 100_000)}}{{new string(']', 100_000)}}}""", 400, "body", "not JSON");

    [Test]
    public async Task Completion_BodyNotUtf8_IsRefused()
    {
        byte[] body = [.. "{\"prompt\":\""u8, 0xC3, 0x28, .. "\"}"u8];
        using HttpResponseMessage response = await _api.Http.PostAsync("/v1/completions", new ByteArrayContent(body));
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("not valid UTF-8"));
    }

    [TestCase(true)]
    [TestCase(false)] // sent in chunks: the length is not announced
    public async Task Completion_BodyTooLong_Is413(bool announced)
    {
        string json = $$"""{"prompt":"{{new string('a', 4 << 20)}}"}""";
        using HttpRequestMessage request = new(HttpMethod.Post, "/v1/completions") { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        request.Headers.TransferEncodingChunked = !announced;
        request.Headers.ExpectContinue = true;
        using HttpResponseMessage response = await _api.Http.SendAsync(request);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.RequestEntityTooLarge));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain($"{4 << 20} bytes"));
    }

    [Test]
    public async Task Completion_PromptTooLong_NamesBothLengths() =>
        await CheckAsync("/v1/completions", $$"""{"prompt":"{{new string('a', 128)}}"}""", 400, "prompt", "128 tokens; the context is 128");

    [Test]
    public async Task Get_PathThatIsNotServed_IsAnErrorBody()
    {
        using HttpResponseMessage response = await _api.Http.GetAsync("/v1/nothing");
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        JsonElement error = (await ApiFixture.BodyAsync(response)).GetProperty("error");
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("route_not_found"));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("GET /v1/nothing"));
    }

    [TestCase("/v1/completions", "POST, OPTIONS")]
    [TestCase("/v1/chat/completions", "POST, OPTIONS")]
    [TestCase("/v1/embeddings", "POST, OPTIONS")]
    [TestCase("/tokenize", "POST, OPTIONS")]
    [TestCase("/detokenize", "POST, OPTIONS")]
    [TestCase("/v1/models", "GET, HEAD, OPTIONS")]
    [TestCase("/v1/models/test-model", "GET, HEAD, OPTIONS")]
    [TestCase("/health/live", "GET, HEAD, OPTIONS")]
    [TestCase("/health/ready", "GET, HEAD, OPTIONS")]
    [TestCase("/topology", "GET, HEAD, OPTIONS")]
    [TestCase("/load", "GET, HEAD, OPTIONS")]
    [TestCase("/info", "GET, HEAD, OPTIONS")]
    [TestCase("/", "GET, HEAD, OPTIONS")]
    [TestCase("/page/js/app.js", "GET, HEAD, OPTIONS")]
    public async Task Route_EveryMethod_IsServedOrToldWhichAre(string path, string allowed)
    {
        foreach (string method in new[] { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" })
        {
            using HttpRequestMessage request = new(new HttpMethod(method), path);
            using HttpResponseMessage response = await _api.Http.SendAsync(request);
            string body = await response.Content.ReadAsStringAsync();
            if (method == "OPTIONS")
                Assert.That((response.StatusCode, string.Join(", ", response.Content.Headers.Allow)), Is.EqualTo((HttpStatusCode.NoContent, allowed)));
            else if (method == "POST" && allowed.StartsWith("POST", StringComparison.Ordinal))
                Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.BadRequest), "an empty body");
            else if (allowed.Contains(method, StringComparison.Ordinal))
                Assert.That((response.StatusCode, body.Length > 0), Is.EqualTo((HttpStatusCode.OK, method == "GET")), $"{method} {path}");
            else
            {
                Assert.That((response.StatusCode, string.Join(", ", response.Content.Headers.Allow)), Is.EqualTo((HttpStatusCode.MethodNotAllowed, allowed)), $"{method} {path}");
                if (method != "HEAD")
                    Assert.That(body, Does.Contain("method_not_allowed").And.Contain($"{method} {path}").And.Contain(allowed));
            }
        }
    }

    private async Task CheckAsync(string path, string json, int status, string field, string message)
    {
        using HttpResponseMessage response = await _api.Http.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));
        JsonElement error = (await ApiFixture.BodyAsync(response)).GetProperty("error");
        Assert.That((int)response.StatusCode, Is.EqualTo(status), error.GetRawText());
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(field), error.GetRawText());
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message).And.Not.Contain("System."));
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("invalid_request_error"));
        Assert.That(error.GetProperty("code").GetString(), Is.Not.Empty);
        Assert.That(response.Headers.GetValues("x-should-retry"), Is.EqualTo(new[] { "false" }), "the same request would be refused again");

        (HttpStatusCode after, _) = await _api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        Assert.That(after, Is.EqualTo(HttpStatusCode.OK), "a request after the bad one");
    }
}
