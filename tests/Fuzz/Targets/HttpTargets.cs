using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using TpServe.ChatTemplates;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Testing;

namespace TpServe.Fuzz.Targets;

/// <summary>A server in this process over scripted workers, asked one thing after the other over a socket.</summary>
/// <remarks>What is allocated is that of the whole process: server, scripted workers and client together.</remarks>
internal abstract class ServerTarget(string name) : FuzzTarget(name)
{
    private const int PlansKept = 1000;

    private readonly Lazy<ApiFixture> _api = new(() => Start());
    private readonly Lazy<HttpClient> _client = new(() => new HttpClient(new SocketsHttpHandler { RequestHeaderEncodingSelector = (_, _) => Encoding.Latin1 }) { Timeout = TimeSpan.FromSeconds(30) });

    /// <summary>An answer is as long as the model's context allows, whatever the size of what asks for it; the first one starts the server.</summary>
    public override long FixedBytes => 128 << 20;

    public override long Allocated() => GC.GetTotalAllocatedBytes();

    /// <summary>The answer to a call. True where it is one of success.</summary>
    protected bool Ask(string path, byte[] body, string? header = null, string? value = null)
    {
        if (_api.Value.Group.Plans.Count > PlansKept && _api.Value.Engine.Load() is { RunningSequences: 0, WaitingSequences: 0 })
            _api.Value.Group.Plans.Clear();
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(_api.Value.Http.BaseAddress!, path)) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        if (header is not null)
            request.Headers.TryAddWithoutValidation(header, value);
        using HttpResponseMessage response = _client.Value.Send(request, CancellationToken.None);
        using StreamReader reader = new(response.Content.ReadAsStream(), Encoding.UTF8);
        string answer = reader.ReadToEnd();
        if (response.StatusCode >= HttpStatusCode.InternalServerError && response.StatusCode is not (HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout))
            throw new FuzzFindingException($"it is answered {(int)response.StatusCode}: {answer}");
        if (!response.IsSuccessStatusCode && answer.Length == 0 && header is null) // a header that is no text Kestrel refuses by itself, without a word
            throw new FuzzFindingException($"it is answered {(int)response.StatusCode} without a word");
        if (response.Content.Headers.ContentType?.MediaType == "application/json")
            Check(answer, response);
        return response.IsSuccessStatusCode;
    }

    public override void Finish()
    {
        if (!_api.IsValueCreated)
            return;
        using HttpResponseMessage alive = _client.Value.Send(new HttpRequestMessage(HttpMethod.Get, new Uri(_api.Value.Http.BaseAddress!, "/health/ready")));
        using StreamReader words = new(alive.Content.ReadAsStream());
        if (!alive.IsSuccessStatusCode)
            throw new FuzzFindingException($"the server is not ready: {alive.StatusCode} {words.ReadToEnd()}");
        if (!SpinWait.SpinUntil(() => _api.Value.Engine.Load() is { RunningSequences: 0, WaitingSequences: 0, UsedBlocks: 0 }, TimeSpan.FromSeconds(20)))
            throw new FuzzFindingException($"something runs on: {_api.Value.Engine.Load()}");
    }

    public override void Dispose()
    {
        if (_client.IsValueCreated)
            _client.Value.Dispose();
        if (_api.IsValueCreated)
            _api.Value.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    // A template with tools, which takes more room than the other tests' models have.
    private static ApiFixture Start() => ApiFixture.StartAsync(
        group: new FakeWorkerGroup(kvBlocks: 4096, blockTokens: 4) { NextToken = FakeWorkerGroup.Says("Hello!") },
        settings: ApiFixture.Settings with { MaxModelLen = 1300, MaxStepTokens = 2048, ChunkTokens = 512, QueueLimit = 64 },
        model: TestModel.Model() with { ChatTemplate = ChatTemplate.Parse(File.ReadAllText(TestData.Local("chat-templates/Qwen-Qwen2.5-7B-Instruct.jinja"))) }).GetAwaiter().GetResult();

    private static void Check(string answer, HttpResponseMessage response)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(answer);
            if (!response.IsSuccessStatusCode && !document.RootElement.TryGetProperty("error", out _))
                throw new FuzzFindingException($"it is refused without an 'error': {answer}");
        }
        catch (JsonException)
        {
            throw new FuzzFindingException($"the answer is no JSON: {answer}");
        }
    }
}

/// <summary>The body of one route.</summary>
internal sealed class BodyTarget(string path, params string[] seeds) : ServerTarget("http" + path)
{
    private static readonly string[] s_fields =
    [
        "\"prompt\":", "\"messages\":", "\"input\":", "\"stream\":true", "\"n\":3", "\"max_tokens\":", "\"temperature\":", "\"top_p\":", "\"top_k\":", "\"logprobs\":", "\"stop\":", "\"stop\":[\"a\",\"b\"]", "\"logit_bias\":{\"1\":5}", "\"response_format\":", "\"tools\":", "\"tool_choice\":",
        "\"role\":\"user\"", "\"role\":\"assistant\"", "\"role\":\"tool\"", "\"content\":", "\"type\":\"text\"", "\"type\":\"function\"", "\"user\"", "\"echo\":true", "\"seed\":", "\"priority\":", "\"request_id\":", "\"cache_salt\":", "\"options\":", "\"format\":", "\"system\":", "\"metadata\":", "\"{\\\"\\\\ud800\\\":1}\"", "\"{\\\"a\\\":[[[[\"",
    ];

    public override IReadOnlyList<byte[]> Seeds { get; } = [.. seeds.Select(Encoding.UTF8.GetBytes)];

    public override IReadOnlyList<string> Words { get; } = [.. Mutator.Json, .. s_fields];

    public override int Share => 2;

    /// <summary>Every route that reads a body.</summary>
    public static IEnumerable<BodyTarget> All()
    {
        const string Sampling = "\"max_tokens\":3,\"temperature\":0.7,\"top_p\":0.9,\"top_k\":5,\"min_p\":0.1,\"seed\":7,\"presence_penalty\":0.1,\"frequency_penalty\":-0.1,\"repetition_penalty\":1.1,\"stop\":[\"x\",\"yy\"],\"logit_bias\":{\"65\":-100},\"user\":\"u\"";
        const string Tools = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}}}]";
        yield return new("/v1/completions",
            "{\"model\":\"test-model\",\"prompt\":\"abc\",\"n\":2,\"logprobs\":2,\"stream\":true,\"stream_options\":{\"include_usage\":true}," + Sampling + "}",
            """{"prompt":["a",[1,2,3]],"echo":true,"prompt_logprobs":1,"return_token_ids":true,"ignore_eos":true,"min_tokens":1,"max_tokens":2,"stop_token_ids":[7],"priority":3,"cache_salt":"s","cache":{"bypass":true},"draft_tokens":2,"best_of":1}""");
        yield return new("/v1/chat/completions",
            "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"u\"}]}],\"logprobs\":true,\"top_logprobs\":2,\"stream\":true," + Sampling + "}",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"r\"}],\"max_completion_tokens\":3,\"tool_choice\":\"auto\",\"parallel_tool_calls\":false,\"chat_template_kwargs\":{\"enable_thinking\":true},\"reasoning_effort\":\"low\"," + Tools + "}");
        yield return new("/v1/responses",
            """{"model":"test-model","input":"abc","instructions":"i","max_output_tokens":20,"temperature":0,"stream":true,"store":true,"metadata":{"a":"b"},"text":{"format":{"type":"text"}},"reasoning":{"effort":"low"},"top_logprobs":1,"include":["message.output_text.logprobs"]}""",
            """{"input":[{"role":"user","content":[{"type":"input_text","text":"u"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":false}],"tool_choice":"auto","previous_response_id":null,"max_output_tokens":20}""");
        string[] messages =
        [
            """{"model":"test-model","max_tokens":4,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"u"}],"temperature":0.5,"top_k":3,"stop_sequences":["q"],"stream":true,"metadata":{"user_id":"u"},"thinking":{"type":"disabled"}}""",
            """{"max_tokens":4,"messages":[{"role":"user","content":"u"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto"}}""",
        ];
        yield return new("/v1/messages", messages);
        yield return new("/v1/messages/count_tokens", """{"messages":[{"role":"user","content":"u"}],"system":"s"}""");
        yield return new("/api/chat",
            """{"model":"test-model:latest","messages":[{"role":"user","content":"u"}],"stream":true,"think":false,"keep_alive":"5m","options":{"num_predict":3,"temperature":0,"stop":["x"],"seed":1,"num_ctx":64}}""",
            """{"messages":[{"role":"user","content":"u"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","tool_name":"f","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"stream":false}""");
        yield return new("/api/generate", """{"model":"test-model","prompt":"p","system":"s","raw":false,"stream":false,"options":{"num_predict":3,"top_k":4,"repeat_penalty":1.1}}""", """{"prompt":"p","raw":true,"keep_alive":0}""");
        yield return new("/api/embed", """{"model":"test-model","input":["a","b"],"truncate":true}""", """{"input":"a"}""");
        yield return new("/api/embeddings", """{"model":"test-model","prompt":"a"}""");
        yield return new("/v1/embeddings", """{"input":["a","b"],"encoding_format":"base64","user":"u"}""", """{"input":[1,2,3],"encoding_format":"float"}""");
        yield return new("/tokenize", """{"prompt":"abc","add_special_tokens":true,"return_token_strs":true}""", """{"messages":[{"role":"user","content":"u"}],"add_generation_prompt":true,"continue_final_message":false}""");
        yield return new("/detokenize", """{"tokens":[97,98,256],"skip_special_tokens":true}""");
        yield return new("/apply-template", "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"}],\"chat_template_kwargs\":{\"enable_thinking\":true}," + Tools + "}");
    }

    public override bool Read(byte[] input) => Ask(path, input);
}

/// <summary>The header by which a client comes back to a stream.</summary>
internal sealed class ResumeTarget() : ServerTarget("resume")
{
    private bool _opened;

    public override IReadOnlyList<byte[]> Seeds { get; } = ["fuzz-1:1"u8.ToArray(), "fuzz-1:3"u8.ToArray(), "fuzz-2:2"u8.ToArray()];

    public override IReadOnlyList<string> Words { get; } = [":", "fuzz-1", "fuzz-2", "0", "-1", "+1", "1e3", "9223372036854775807", "9223372036854775808", " ", "\t", "%00", "é", "::", ",", ";", "\"", "٣", new string('a', 200)];

    public override int Share => 2;

    public override bool Read(byte[] input)
    {
        if (!_opened)
        {
            Ask("/v1/completions", """{"prompt":"abc","stream":true,"request_id":"fuzz-1"}"""u8.ToArray());
            Ask("/v1/chat/completions", """{"messages":[{"role":"user","content":"u"}],"stream":true,"request_id":"fuzz-2"}"""u8.ToArray());
            _opened = true;
        }
        string value = Encoding.Latin1.GetString(input);
        if (value.AsSpan().ContainsAny('\r', '\n', '\0') || value.Length > 16_000)
            return false; // no client can send these, and Kestrel's own limit refuses the long ones
        return Ask(value.Contains("fuzz-2", StringComparison.Ordinal) ? "/v1/chat/completions" : "/v1/completions", [], "Last-Event-ID", value);
    }
}
