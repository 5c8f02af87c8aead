using System.Net;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Access;

/// <summary>Keys as clients of each API send them, what they open, and whose requests are whose.</summary>
public sealed class AccessGateTests
{
    private const string Prompt = """{"prompt":"a","max_tokens":1}""";

    private static readonly (string Path, string Body)[] s_dialects =
    [
        ("/v1/completions", Prompt),
        ("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"max_tokens":1}"""),
        ("/v1/responses", """{"input":"a","max_output_tokens":1}"""),
        ("/v1/messages", """{"model":"test-model","messages":[{"role":"user","content":"a"}],"max_tokens":1}"""),
        ("/api/chat", """{"model":"test-model","messages":[{"role":"user","content":"a"}],"stream":false,"options":{"num_predict":1}}"""),
        ("/v1/embeddings", """{"input":"a"}"""),
    ];

    [Test]
    public async Task Key_AsEachClientSendsIt_IsTaken()
    {
        using ScratchKeys keys = new();
        string key = keys.Add("one");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        foreach ((string path, string body) in s_dialects)
            foreach ((string header, string value) in new[] { ("Authorization", "Bearer " + key), ("authorization", "bearer " + key), ("x-api-key", key) })
            {
                using HttpResponseMessage response = await SendAsync(api, path, body, (header, value));
                Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), $"{path} {header}: {await response.Content.ReadAsStringAsync()}");
            }
        GenerateResponse answer = await api.Inference.GenerateAsync(new GenerateRequest { Text = "a", Stopping = new StoppingOptions { MaxTokens = 1 } }, ScratchKeys.Bearer(key));
        Assert.That(answer.Outputs, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Key_WrongOrTooSmall_IsRefusedInEachDialectsWords()
    {
        using ScratchKeys keys = new();
        string key = keys.Add("small");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        foreach ((string path, string body) in s_dialects)
            foreach (string? bad in new[] { null, "", key[..^1], key + "a", "tps-", new string('x', 4000) })
            {
                using HttpResponseMessage response = await SendAsync(api, path, body, bad is null ? null : ("Authorization", "Bearer " + bad));
                Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Unauthorized), path);
                Assert.That(response.Headers.WwwAuthenticate.ToString(), Does.StartWith("Bearer realm=\"tpserve\""));
                JsonElement error = (await ApiFixture.BodyAsync(response)).GetProperty("error");
                if (path.StartsWith("/api", StringComparison.Ordinal))
                    Assert.That(error.GetString(), Does.Contain("key"));
                else
                    Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("authentication_error"), path);
            }
        ScratchKeys.Use(api, key);
        using HttpResponseMessage topology = await api.Http.GetAsync("/topology");
        JsonElement missing = (await ApiFixture.BodyAsync(topology)).GetProperty("error");
        Assert.That((topology.StatusCode, missing.GetProperty("type").GetString(), missing.GetProperty("code").GetString()), Is.EqualTo((HttpStatusCode.Forbidden, "permission_error", "scope_missing")));
        Assert.That(missing.GetProperty("message").GetString(), Is.EqualTo("Key 'small' has scope generate; this asks for scope admin."));

        RpcException none = (await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.TokenizeAsync(new TokenizeRequest { Text = "a" })))!;
        Assert.That((none.StatusCode, none.GetRpcStatus()!.GetDetail<Google.Rpc.ErrorInfo>()!.Reason), Is.EqualTo((StatusCode.Unauthenticated, "KEY_MISSING")));
        RpcException scope = (await Assert.ThrowsAsync<RpcException>(async () => await api.Control.FlushPrefixCacheAsync(new FlushPrefixCacheRequest(), ScratchKeys.Bearer(key))))!;
        Assert.That((scope.StatusCode, scope.GetRpcStatus()!.GetDetail<Google.Rpc.ErrorInfo>()!.Metadata["limit"]), Is.EqualTo((StatusCode.PermissionDenied, "admin")));
    }

    [Test]
    public async Task Keys_FileChanges_HoldsAtTheNextLookAndAMalformedOneChangesNothing()
    {
        using ScratchKeys keys = new();
        string first = keys.Add("first");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        KeyRing ring = api.Service<KeyRing>();
        Assert.That((ring.Find(first)?.Name, ring.Find("other")), Is.EqualTo(("first", (Caller?)null)));

        string second = keys.Add("second", KeyScope.Admin);
        Assert.That(() => ring.Find(second)?.Scope, Is.EqualTo(KeyScope.Admin).After(10_000, 20), "without anybody asking for it");
        Caller before = ring.Find(first)!;
        keys.Remove("second");
        ring.Refresh();
        Assert.That((ring.Find(second), ring.Find(first)), Is.EqualTo(((Caller?)null, before)), "one that stays is the same, and so is what it has used");

        foreach (string broken in new[] { "", "{", "null", "{}", """{"keys":null}""", """{"keys":[{"name":"a"}]}""", """{"keys":[],"more":1}""", """{"keys":[{"name":"a b","scope":"admin","sha256":"00"}]}""" })
        {
            await File.WriteAllTextAsync(keys.Path, broken);
            ring.Refresh();
            Assert.That(ring.Find(first), Is.SameAs(before), broken);
        }
        File.Delete(keys.Path);
        ring.Refresh();
        Assert.That(ring.Find(first), Is.SameAs(before));
        await File.WriteAllTextAsync(keys.Path, """{"keys":[]}""");
        ring.Refresh();
        Assert.That((ring.Find(first), ring.IsClosed), Is.EqualTo(((Caller?)null, true)), "no key left opens nothing");
    }

    [Test]
    public async Task Request_OfAnotherKey_CannotBeResumedAbortedOrLookedUp()
    {
        using ScratchKeys keys = new();
        string mine = keys.Add("mine"), other = keys.Add("other"), admin = keys.Add("admin", KeyScope.Admin);
        await using ApiFixture api = await ApiFixture.StartAsync(says: "Hello!", settings: keys.Settings);

        // A stream, over each of the ways it can be taken up again.
        List<string> ids = [];
        foreach ((string path, string body) in s_dialects.Take(4))
        {
            using HttpResponseMessage stream = await SendAsync(api, path, body[..^1] + ",\"stream\":true}", ("x-api-key", mine));
            string text = await stream.Content.ReadAsStringAsync();
            string id = text.Split('\n').First(line => line.StartsWith("id: ", StringComparison.Ordinal))["id: ".Length..];
            ids.Add(id.Split(':')[0]);
            foreach ((string key, HttpStatusCode status) in new[] { (other, HttpStatusCode.NotFound), (mine, HttpStatusCode.OK), (admin, HttpStatusCode.OK) })
            {
                using HttpResponseMessage again = await SendAsync(api, path, "{}", ("x-api-key", key), ("Last-Event-ID", id));
                Assert.That(again.StatusCode, Is.EqualTo(status), $"{path}: {await again.Content.ReadAsStringAsync()}");
            }
        }
        Assert.That(await ResumeAsync(other), Is.EqualTo(StatusCode.NotFound));
        Assert.That(await ResumeAsync(mine), Is.EqualTo(StatusCode.OK));

        // What /v1/responses keeps.
        using HttpResponseMessage made = await SendAsync(api, "/v1/responses", """{"input":"a"}""", ("x-api-key", mine));
        string response = (await ApiFixture.BodyAsync(made)).GetProperty("id").GetString()!;
        foreach ((string key, HttpStatusCode status) in new[] { (other, HttpStatusCode.NotFound), (mine, HttpStatusCode.OK), (admin, HttpStatusCode.OK) })
        {
            using HttpResponseMessage got = await SendAsync(api, $"/v1/responses/{response}", null, ("x-api-key", key));
            using HttpResponseMessage items = await SendAsync(api, $"/v1/responses/{response}/input_items", null, ("x-api-key", key));
            using HttpResponseMessage next = await SendAsync(api, "/v1/responses", $$"""{"input":"b","previous_response_id":"{{response}}"}""", ("x-api-key", key));
            Assert.That((got.StatusCode, items.StatusCode, next.StatusCode), Is.EqualTo((status, status, status)));
        }

        async Task<StatusCode> ResumeAsync(string key)
        {
            using AsyncServerStreamingCall<GenerateEvent> call = api.Inference.ResumeStream(new ResumeStreamRequest { RequestId = ids[0] }, ScratchKeys.Bearer(key));
            try
            {
                await foreach (GenerateEvent _ in call.ResponseStream.ReadAllAsync())
                {
                }
                return StatusCode.OK;
            }
            catch (RpcException fault)
            {
                return fault.StatusCode;
            }
        }
    }

    [Test]
    public async Task Abort_OfAnotherKey_FindsNothing()
    {
        using ScratchKeys keys = new();
        string mine = keys.Add("mine"), other = keys.Add("other");
        FakeWorkerGroup group = new() { Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: keys.Settings);
        Task<HttpResponseMessage> running = SendAsync(api, "/v1/completions", """{"prompt":"a","request_id":"r"}""", ("x-api-key", mine));
        await group.StepBeganAsync();
        RpcException fault = (await Assert.ThrowsAsync<RpcException>(async () => await api.Control.AbortAsync(new AbortRequest { RequestId = "r" }, ScratchKeys.Bearer(other))))!;
        Assert.That(fault.StatusCode, Is.EqualTo(StatusCode.NotFound));
        using HttpResponseMessage taken = await SendAsync(api, "/v1/completions", """{"prompt":"a","request_id":"r"}""", ("x-api-key", other));
        Assert.That(taken.StatusCode, Is.EqualTo(HttpStatusCode.Conflict));
        await api.Control.AbortAsync(new AbortRequest { RequestId = "r" }, ScratchKeys.Bearer(mine));
        using HttpResponseMessage ended = await running;
        Assert.That((await ApiFixture.BodyAsync(ended)).GetProperty("choices")[0].GetProperty("finish_reason").GetString(), Is.EqualTo("abort"));
    }

    [Test]
    public async Task Limits_OfAKey_RefuseWithWhatIsLeftInEveryDialect()
    {
        using ScratchKeys keys = new();
        string two = keys.Add("two", limits: new KeyLimits(RequestsPerMinute: 2)), free = keys.Add("free");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        foreach (int left in new[] { 1, 0 })
        {
            using HttpResponseMessage taken = await SendAsync(api, "/v1/completions", Prompt, ("x-api-key", two));
            Assert.That(taken.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That((Header(taken, "x-ratelimit-limit-requests"), Header(taken, "x-ratelimit-remaining-requests")), Is.EqualTo(("2", $"{left}")));
        }
        foreach ((string path, string body) in s_dialects)
        {
            using HttpResponseMessage refused = await SendAsync(api, path, body, ("x-api-key", two));
            Assert.That(refused.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests), path);
            Assert.That(refused.Headers.RetryAfter!.Delta, Is.GreaterThan(TimeSpan.FromSeconds(10)).And.LessThanOrEqualTo(TimeSpan.FromSeconds(30)));
            Assert.That(Header(refused, "x-ratelimit-remaining-requests"), Is.EqualTo("0"));
            JsonElement error = (await ApiFixture.BodyAsync(refused)).GetProperty("error");
            Assert.That(error.ValueKind == JsonValueKind.String ? error.GetString() : error.GetProperty("message").GetString(), Is.EqualTo("Key 'two' has used its 2 requests a minute."));
            using HttpResponseMessage other = await SendAsync(api, path, body, ("x-api-key", free));
            Assert.That(other.StatusCode, Is.EqualTo(HttpStatusCode.OK), "a key's limits are its own");
        }
        using HttpResponseMessage models = await SendAsync(api, "/v1/models", null, ("x-api-key", two));
        Assert.That(models.StatusCode, Is.EqualTo(HttpStatusCode.OK), "what costs nothing is not counted");
        RpcException fault = (await Assert.ThrowsAsync<RpcException>(async () => await api.Inference.TokenizeAsync(new TokenizeRequest { Text = "a" }, ScratchKeys.Bearer(two))))!;
        Assert.That((fault.StatusCode, fault.GetRpcStatus()!.GetDetail<Google.Rpc.RetryInfo>()!.RetryDelay.Seconds), Is.GreaterThan((StatusCode.ResourceExhausted, 10L)));
    }

    [Test]
    public async Task Limits_OnStreamsAndTokens_HoldWhileAndAfterTheyAreUsed()
    {
        using ScratchKeys keys = new();
        string one = keys.Add("one", limits: new KeyLimits(Streams: 1)), tokens = keys.Add("tokens", limits: new KeyLimits(TokensPerMinute: 20));
        FakeWorkerGroup group = new() { Manual = true, NextToken = FakeWorkerGroup.Says("0123456789abcdefghij") };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group, settings: keys.Settings);
        Task<HttpResponseMessage> running = SendAsync(api, "/v1/completions", Prompt, ("x-api-key", one));
        await group.StepBeganAsync();
        using HttpResponseMessage second = await SendAsync(api, "/v1/completions", Prompt, ("x-api-key", one));
        Assert.That((second.StatusCode, (await ApiFixture.BodyAsync(second)).GetProperty("error").GetProperty("code").GetString()), Is.EqualTo((HttpStatusCode.TooManyRequests, "stream_limit")));
        group.Manual = false;
        group.Allow(10);
        (await running).Dispose();
        using HttpResponseMessage third = await SendAsync(api, "/v1/completions", Prompt, ("x-api-key", one));
        Assert.That(third.StatusCode, Is.EqualTo(HttpStatusCode.OK), "it has ended");

        using HttpResponseMessage costly = await SendAsync(api, "/v1/completions", """{"prompt":"abcdefgh","max_tokens":16}""", ("x-api-key", tokens));
        Assert.That((costly.StatusCode, Header(costly, "x-ratelimit-remaining-tokens")), Is.EqualTo((HttpStatusCode.OK, "20")), "what it will cost is not known when it begins");
        using HttpResponseMessage next = await SendAsync(api, "/v1/completions", Prompt, ("x-api-key", tokens));
        Assert.That((next.StatusCode, Header(next, "x-ratelimit-remaining-tokens")), Is.EqualTo((HttpStatusCode.TooManyRequests, "0")));
        Assert.That(next.Headers.RetryAfter!.Delta, Is.GreaterThan(TimeSpan.FromSeconds(8)).And.LessThan(TimeSpan.FromSeconds(20)), "24 of 20 are used: 5 more must flow back, at 3 s each");
    }

    private static string Header(HttpResponseMessage response, string name) => response.Headers.TryGetValues(name, out IEnumerable<string>? values) ? values.Single() : "";

    private static Task<HttpResponseMessage> SendAsync(ApiFixture api, string path, string? body, params (string Name, string Value)?[] headers)
    {
        HttpRequestMessage request = new(body is null ? HttpMethod.Get : HttpMethod.Post, path);
        if (body is not null)
            request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        foreach ((string Name, string Value)? header in headers)
            if (header is { } given)
                request.Headers.TryAddWithoutValidation(given.Name, given.Value);
        return api.Http.SendAsync(request);
    }
}
