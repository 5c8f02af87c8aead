using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Api;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Access;

/// <summary>What a page of another site can have a browser send, and what it gets done: nothing.</summary>
public sealed class BrowserRuleTests
{
    private const string Prompt = """{"prompt":"a","max_tokens":1}""", Json = "application/json";

    [TestCase("application/json", HttpStatusCode.OK)]
    [TestCase("application/json; charset=utf-8", HttpStatusCode.OK)]
    [TestCase("application/vnd.api+json", HttpStatusCode.OK)]
    [TestCase("text/plain", HttpStatusCode.UnsupportedMediaType)]
    [TestCase("text/plain; charset=utf-8", HttpStatusCode.UnsupportedMediaType)]
    [TestCase("text/plain; application/json", HttpStatusCode.UnsupportedMediaType)]
    [TestCase("application/x-www-form-urlencoded", HttpStatusCode.UnsupportedMediaType)]
    [TestCase("multipart/form-data; boundary=x", HttpStatusCode.UnsupportedMediaType)]
    [TestCase(null, HttpStatusCode.UnsupportedMediaType)]
    public async Task Body_OfAKindOfContentFromABrowser_IsReadWhereItIsJson(string? type, HttpStatusCode expected)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage response = await SendAsync(api, "/v1/completions", Prompt, type, ("Sec-Fetch-Site", "same-origin"));
        Assert.That(response.StatusCode, Is.EqualTo(expected), await response.Content.ReadAsStringAsync());
        if (expected != HttpStatusCode.OK)
            Assert.That((await ApiFixture.BodyAsync(response)).GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("content_type"));
        Assert.That(api.Group.Plans, Has.Count.EqualTo(expected == HttpStatusCode.OK ? 1 : 0));
    }

    [Test]
    public async Task Body_AsCurlSendsIt_IsReadUnlessABrowserSentIt()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        const string Form = "application/x-www-form-urlencoded", Body = """{"model":"test-model","prompt":"a","stream":false}""";
        Assert.That(await StatusAsync(api, "/api/generate", Body, Form), Is.EqualTo(HttpStatusCode.OK));
        Assert.That(await StatusAsync(api, "/api/generate", Body, Form, ("Sec-Fetch-Site", "cross-site")), Is.EqualTo(HttpStatusCode.UnsupportedMediaType));
        Assert.That(await StatusAsync(api, "/api/generate", Body, Form, ("Origin", api.Http.BaseAddress!.GetLeftPart(UriPartial.Authority))), Is.EqualTo(HttpStatusCode.UnsupportedMediaType));
    }

    [Test]
    public async Task Origin_ForeignOrOwn_IsRefusedOrServed()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { CorsOrigins = ["https://chat.example.com"] });
        string own = api.Http.BaseAddress!.GetLeftPart(UriPartial.Authority);
        foreach (string origin in new[] { own, "https://chat.example.com", "HTTPS://CHAT.EXAMPLE.COM" })
            Assert.That(await StatusAsync(api, "/v1/completions", Prompt, Json, ("Origin", origin)), Is.EqualTo(HttpStatusCode.OK), origin);
        int plans = api.Group.Plans.Count;
        foreach (string origin in new[] { "https://evil.example", "null", "http://127.0.0.1:1", own + ".evil.example", "http://localhost:" + api.Http.BaseAddress.Port, "https://chat.example.com:444", "file://", "nonsense" })
            Assert.That(await StatusAsync(api, "/v1/completions", Prompt, Json, ("Origin", origin)), Is.EqualTo(HttpStatusCode.Forbidden), origin);
        Assert.That(api.Group.Plans, Has.Count.EqualTo(plans), "nothing was computed");
        await using ApiFixture open = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { CorsOrigins = ["*"] });
        Assert.That(await StatusAsync(open, "/v1/completions", Prompt, Json, ("Origin", "null")), Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task Host_ByWhichTheServerIsCalled_IsKnownOrMisdirected()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { Hosts = ["llm.example.com"] });
        foreach (string host in new[] { "localhost", "LOCALHOST:80", "page.localhost", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7", "llm.example.com", "LLM.example.com:8443" })
            Assert.That(await StatusAsync(api, "/v1/completions", Prompt, Json, ("Host", host)), Is.EqualTo(HttpStatusCode.OK), host);
        int plans = api.Group.Plans.Count;
        foreach (string host in new[] { "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "llm.example.com.", "example.com" })
            Assert.That(await StatusAsync(api, "/v1/completions", Prompt, Json, ("Host", host)), Is.EqualTo(HttpStatusCode.MisdirectedRequest), host);
        Assert.That(api.Group.Plans, Has.Count.EqualTo(plans));

        await using ApiFixture any = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { Hosts = null });
        Assert.That(await StatusAsync(any, "/v1/completions", Prompt, Json, ("Host", "evil.example")), Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task GrpcWeb_OfAForeignPage_IsRefusedAsAStatus()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpRequestMessage request = new(HttpMethod.Post, "/tpserve.v1.Inference/Tokenize") { Content = new ByteArrayContent([0, 0, 0, 0, 0]) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc-web");
        request.Headers.Add("Origin", "https://evil.example");
        using HttpResponseMessage response = await api.Http.SendAsync(request);
        Assert.That(response.Headers.GetValues("grpc-status").Single(), Is.EqualTo($"{(int)StatusCode.PermissionDenied}"));
        Assert.That((await api.Inference.TokenizeAsync(new TokenizeRequest { Text = "a" })).TokenIds, Has.Count.EqualTo(1), "clients that are no pages send no origin");
    }

    [TestCase("/health/live")]
    [TestCase("/health/ready")]
    [TestCase("/v1/models")]
    [TestCase("/v1/models/test-model")]
    public async Task Head_OfWhatCanBeGot_HasItsHeadersAndNoBody(string path)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpResponseMessage head = await api.Http.SendAsync(new HttpRequestMessage(HttpMethod.Head, path));
        Assert.That((head.StatusCode, (await head.Content.ReadAsByteArrayAsync()).Length), Is.EqualTo((HttpStatusCode.OK, 0)));
        using HttpResponseMessage put = await api.Http.SendAsync(new HttpRequestMessage(HttpMethod.Put, path));
        Assert.That((put.StatusCode, string.Join(", ", put.Content.Headers.Allow)), Is.EqualTo((HttpStatusCode.MethodNotAllowed, "GET, HEAD, OPTIONS")));
    }

    [Test]
    public async Task Preflight_WithKeysInForce_IsAnsweredWithoutOneAndTheCallIsNot()
    {
        using ScratchKeys keys = new();
        keys.Add("one");
        ServingSettings settings = keys.Settings with { CorsOrigins = ["https://chat.example.com"] };
        await using ApiFixture api = await ApiFixture.StartAsync(settings: settings);
        using HttpRequestMessage preflight = new(HttpMethod.Options, "/v1/completions");
        preflight.Headers.Add("Origin", "https://chat.example.com");
        preflight.Headers.Add("Access-Control-Request-Method", "POST");
        preflight.Headers.Add("Access-Control-Request-Headers", "authorization,content-type");
        using HttpResponseMessage allowed = await api.Http.SendAsync(preflight);
        Assert.That(allowed.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
        using HttpResponseMessage refused = await SendAsync(api, "/v1/completions", Prompt, Json, ("Origin", "https://chat.example.com"));
        Assert.That((refused.StatusCode, refused.Headers.GetValues("Access-Control-Allow-Origin").Single()), Is.EqualTo((HttpStatusCode.Unauthorized, "https://chat.example.com")), "so that the page can read why");
    }

    private static async Task<HttpStatusCode> StatusAsync(ApiFixture api, string path, string body, string? type, params (string Name, string Value)[] headers)
    {
        using HttpResponseMessage response = await SendAsync(api, path, body, type, headers);
        return response.StatusCode;
    }

    private static Task<HttpResponseMessage> SendAsync(ApiFixture api, string path, string body, string? type, params (string Name, string Value)[] headers)
    {
        HttpRequestMessage request = new(HttpMethod.Post, path) { Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)) };
        if (type is not null)
            request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        foreach ((string name, string value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        return api.Http.SendAsync(request);
    }
}
