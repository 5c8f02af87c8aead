using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>What HTTP clients, proxies and browsers expect of any server.</summary>
public sealed class HttpConventionTests
{
    private const string Prompt = """{"prompt":"a","max_tokens":1}""";

    [TestCase("/v1/completions", Prompt, "cmpl-")]
    [TestCase("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"max_tokens":1}""", "chatcmpl-")]
    public async Task RequestId_OfTheHeader_NamesTheRequestAndComesBack(string path, string json, string prefix)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage named = await SendAsync(api, path, json, ("X-Request-Id", "proxy-7"));
        Assert.That(named.Headers.GetValues("X-Request-Id"), Is.EqualTo(new[] { "proxy-7" }));
        Assert.That((await ApiFixture.BodyAsync(named)).GetProperty("id").GetString(), Is.EqualTo(prefix + "proxy-7"));
        Assert.That(api.Group.Plans[0].NewSequences, Has.Count.EqualTo(1));

        using HttpResponseMessage unnamed = await SendAsync(api, path, json);
        Assert.That(prefix + unnamed.Headers.GetValues("X-Request-Id").Single(), Is.EqualTo((await ApiFixture.BodyAsync(unnamed)).GetProperty("id").GetString()));

        using HttpResponseMessage refused = await SendAsync(api, path, json, ("X-Request-Id", "a b"));
        Assert.That((await ApiFixture.BodyAsync(refused)).GetProperty("error").GetProperty("param").GetString(), Is.EqualTo("X-Request-Id"));
    }

    [TestCase("gzip")]
    [TestCase("deflate")]
    [TestCase("identity")]
    public async Task Body_CompressedInAWayThatIsServed_IsRead(string encoding)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage response = await PostAsync(api, Compressed(Encoding.UTF8.GetBytes(Prompt), encoding), encoding);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), await response.Content.ReadAsStringAsync());
    }

    [Test]
    public async Task Body_CompressedWronglyOrTooLarge_IsRefusedWithItsReason()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        byte[] bomb = Compressed(Encoding.UTF8.GetBytes($$"""{"prompt":"{{new string('a', 8 << 20)}}"}"""), "gzip");
        Assert.That(bomb, Has.Length.LessThan(64 << 10));
        await CheckAsync(bomb, "gzip", HttpStatusCode.RequestEntityTooLarge, "longer than");
        await CheckAsync(Encoding.UTF8.GetBytes(Prompt), "gzip", HttpStatusCode.BadRequest, "Content-Encoding");
        await CheckAsync(Encoding.UTF8.GetBytes(Prompt), "br", HttpStatusCode.UnsupportedMediaType, "gzip and deflate");
        await CheckAsync(Encoding.UTF8.GetBytes(Prompt), "nothing", HttpStatusCode.UnsupportedMediaType, "'nothing'");

        async Task CheckAsync(byte[] body, string encoding, HttpStatusCode status, string message)
        {
            using HttpResponseMessage response = await PostAsync(api, body, encoding);
            string answer = await response.Content.ReadAsStringAsync();
            Assert.That(response.StatusCode, Is.EqualTo(status), answer);
            Assert.That(answer, Does.Contain(message));
        }
    }

    [Test]
    public async Task Cors_OriginsThatAreNamed_AndNoOthers_MayCall()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { CorsOrigins = ["https://chat.example.com"] });
        using HttpRequestMessage preflight = new(HttpMethod.Options, "/v1/completions");
        preflight.Headers.Add("Origin", "https://chat.example.com");
        preflight.Headers.Add("Access-Control-Request-Method", "POST");
        preflight.Headers.Add("Access-Control-Request-Headers", "authorization,content-type");
        using HttpResponseMessage allowed = await api.Http.SendAsync(preflight);
        Assert.That(allowed.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
        Assert.That(allowed.Headers.GetValues("Access-Control-Allow-Origin"), Is.EqualTo(new[] { "https://chat.example.com" }));

        using HttpResponseMessage named = await SendAsync(api, "/v1/completions", Prompt, ("Origin", "https://chat.example.com"));
        Assert.That(named.Headers.GetValues("Access-Control-Allow-Origin"), Is.EqualTo(new[] { "https://chat.example.com" }));
        using HttpResponseMessage other = await SendAsync(api, "/v1/completions", Prompt, ("Origin", "https://other.example.com"));
        Assert.That(other.Headers.Contains("Access-Control-Allow-Origin"), Is.False);

        await using ApiFixture closed = await ApiFixture.StartAsync();
        using HttpResponseMessage none = await SendAsync(closed, "/v1/completions", Prompt, ("Origin", "https://chat.example.com"));
        Assert.That(none.Headers.Contains("Access-Control-Allow-Origin"), Is.False);
    }

    [Test]
    public async Task ApplyTemplate_Conversation_IsThePromptOfIt()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/apply-template", """{"messages":[{"role":"user","content":"hi <|end|>"}],"chat_template_kwargs":{"enable_thinking":true}}""");
        Assert.That((status, body.GetProperty("prompt").GetString()), Is.EqualTo((HttpStatusCode.OK, "<|user|>hi <|end|>think<|assistant|>")));
        (status, body) = await api.PostAsync("/apply-template", """{"prompt":"a"}""");
        Assert.That((status, body.GetProperty("error").GetProperty("param").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "messages")));
        Assert.That((await api.GetAsync("/version")).GetProperty("version").GetString(), Does.Match("^[0-9]+\\.[0-9]+\\.[0-9]+$"));
    }

    [TestCase("/v1/completions", """{"prompt":"a","stream":true,"max_tokens":1}""")]
    [TestCase("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"stream":true,"max_tokens":1}""")]
    [TestCase("/v1/responses", """{"input":"a","stream":true,"max_output_tokens":1}""")]
    [TestCase("/v1/messages", """{"model":"test-model","messages":[{"role":"user","content":"a"}],"stream":true,"max_tokens":1}""")]
    public async Task Stream_ThatWaitsInTheQueue_HasItsHeadersBeforeItsFirstToken(string path, string json)
    {
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, start: false);
        using HttpResponseMessage response = await api.SendAsync(path, json).WaitAsync(TimeSpan.FromSeconds(20));
        Assert.That((response.StatusCode, response.Content.Headers.ContentType!.MediaType), Is.EqualTo((HttpStatusCode.OK, "text/event-stream")));
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync());
        Assert.That(await reader.ReadLineAsync(), Is.EqualTo(": keep-alive"));
        Assert.That(api.Engine.Load().WaitingSequences, Is.EqualTo(1), "it has not begun");
        group.Start();
        group.Allow(10);
        Assert.That(await reader.ReadToEndAsync(), Does.Contain("data: {"));
    }

    [Test]
    public async Task Stream_ThatFailsInTheQueue_EndsWithItsErrorAsAnEvent()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(start: false, settings: ApiFixture.Settings with { RequestTimeout = TimeSpan.FromSeconds(1) });
        using HttpResponseMessage chat = await api.SendAsync("/v1/completions", """{"prompt":"a","stream":true}""");
        Assert.That(await chat.Content.ReadAsStringAsync(), Does.Contain("\"code\":\"deadline_exceeded\""));
        using HttpResponseMessage response = await api.SendAsync("/v1/responses", """{"input":"a","stream":true}""");
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Match("(?s)event: response.created.*event: response.failed.*deadline_exceeded"));
    }

    [Test, CancelAfter(30_000)]
    public async Task Stream_ThatIsSilent_SendsACommentSoonAndThenEvery15Seconds(CancellationToken cancellation)
    {
        ManualTime time = new();
        MemoryStream sent = new();
        DefaultHttpContext http = new() { RequestAborted = cancellation };
        http.Response.Body = sent;
        Channel<int> source = Channel.CreateUnbounded<int>();
        SseStream events = new(http);
        Task<List<int>> reading = Task.Run(async () =>
        {
            List<int> read = [];
            await foreach (int value in events.KeptAliveAsync(source.Reader.ReadAllAsync(cancellation), time))
                read.Add(value);
            return read;
        }, cancellation);
        for (int comments = 1; comments <= 3; comments++)
            while (Comments() < comments)
            {
                time.Advance(comments == 1 ? TimeSpan.FromMilliseconds(50) : TimeSpan.FromSeconds(5));
                await Task.Yield();
                cancellation.ThrowIfCancellationRequested();
            }
        source.Writer.TryWrite(7);
        source.Writer.Complete();
        Assert.That(await reading, Is.EqualTo(new[] { 7 }));
        Assert.That(Encoding.UTF8.GetString(sent.ToArray()), Does.StartWith(": keep-alive\n\n: keep-alive\n\n: keep-alive\n\n"));

        int Comments() => Encoding.UTF8.GetString(sent.ToArray()).Split("keep-alive").Length - 1;
    }

    private static Task<HttpResponseMessage> SendAsync(ApiFixture api, string path, string json, params (string Name, string Value)[] headers)
    {
        HttpRequestMessage request = new(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        foreach ((string name, string value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        return api.Http.SendAsync(request);
    }

    private static Task<HttpResponseMessage> PostAsync(ApiFixture api, byte[] body, string encoding)
    {
        ByteArrayContent content = new(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        content.Headers.ContentEncoding.Add(encoding);
        return api.Http.PostAsync("/v1/completions", content);
    }

    private static byte[] Compressed(byte[] bytes, string encoding)
    {
        MemoryStream compressed = new();
        using (Stream writer = encoding switch { "gzip" => new GZipStream(compressed, CompressionLevel.Optimal), "deflate" => new ZLibStream(compressed, CompressionLevel.Optimal), _ => new BufferedStream(compressed) })
            writer.Write(bytes);
        return compressed.ToArray();
    }

    [TestCase("/v1/completions", """{"prompt":"a","max_tokens":1}""")]
    [TestCase("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"max_tokens":1}""")]
    [TestCase("/tokenize", """{"prompt":"a"}""")]
    [TestCase("/v1/messages", """{"messages":[{"role":"user","content":"a"}],"max_tokens":1}""")]
    public async Task Body_AsProgramsCallIt_IsReadAsJson(string path, string json)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        foreach (string? kind in new[] { "application/x-www-form-urlencoded", "application/json", null }) // the first is curl's, the last may be a script's
        {
            using ByteArrayContent body = new(Encoding.UTF8.GetBytes(json));
            if (kind is not null)
                body.Headers.ContentType = new MediaTypeHeaderValue(kind);
            using HttpResponseMessage response = await api.Http.PostAsync(path, body);
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), kind);
        }
    }
}
