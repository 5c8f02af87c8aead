using System.Net;
using System.Text.Json;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Prompts of megabytes: refused before work goes into them, and never many at a time.</summary>
public sealed class LongPromptTests
{
    private const int Megabytes = 4 << 20;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);
    private static readonly string s_long = string.Concat(Enumerable.Repeat("Some words. ", (Megabytes - 4096) / 12));

    [Test]
    public void Parse_FarTooLong_IsRefusedWithoutTokenizing()
    {
        RequestParser parser = new(TestModel.Model(), new ServingSettings { MaxModelLen = 100 }, TimeProvider.System);
        GenerateRequest request = new() { Text = s_long };
        long before = GC.GetAllocatedBytesForCurrentThread();
        RequestRejectedException? refused = Assert.Throws<RequestRejectedException>(() => parser.Parse(request));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20), "bytes, of a text of 8 MiB");
        Assert.That((refused!.Reason, refused.Field, refused.Value, refused.Limit), Is.EqualTo(("PROMPT_TOO_LONG", "prompt", "more than 100", "max_model_len 100")));
    }

    [Test]
    public async Task LongPrompts_ManyAtOnce_AreRefusedAlikeByEveryWayIn()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        string text = JsonSerializer.Serialize(s_long), half = JsonSerializer.Serialize(s_long[..(s_long.Length / 2)]);
        (string Path, string Json)[] bodies =
        [
            ("/v1/completions", $$"""{"prompt":{{text}}}"""),
            ("/v1/completions", $$"""{"prompt":["a",{{half}}]}"""),
            ("/v1/chat/completions", $$"""{"messages":[{"role":"user","content":{{text}}}]}"""),
            ("/v1/chat/completions", $$"""{"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":{{text}}}]}]}"""),
        ];
        Task<(HttpStatusCode Status, JsonElement Body)>[] http = [.. bodies.Concat(bodies).Select(one => api.PostAsync(one.Path, one.Json))];
        foreach ((HttpStatusCode status, JsonElement body) in await Task.WhenAll(http).WaitAsync(s_patience))
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.BadRequest), body.ToString());
            Assert.That(body.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("prompt_too_long"));
            Assert.That(body.GetProperty("error").GetProperty("param").GetString(), Is.EqualTo("prompt"));
            Assert.That(body.GetProperty("error").GetProperty("message").GetString(), Does.Contain("more than 128 tokens").And.Contain("context is 128"));
        }
        foreach (AsyncUnaryCall<GenerateResponse> call in new[]
        {
            api.Inference.GenerateAsync(new GenerateRequest { Text = s_long }),
            api.Inference.ChatAsync(new ChatRequest { Messages = { new ChatMessage { Role = ChatRole.User, Content = s_long } } }),
        })
        {
            RpcException? refused = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.WaitAsync(s_patience));
            Assert.That((refused!.StatusCode, refused.Status.Detail), Is.EqualTo((StatusCode.InvalidArgument, "The prompt has more than 128 tokens; the context is 128 tokens, prompt and output together.")));
        }
    }

    [Test]
    public async Task Tokenize_LongerThanTheContext_CountsEveryToken()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/tokenize", $$"""{"prompt":"{{new string('a', 200_000)}}"}""");
        Assert.That((status, body.GetProperty("count").GetInt32()), Is.EqualTo((HttpStatusCode.OK, 200_000)));
        TokenizeResponse tokens = await api.Inference.TokenizeAsync(new TokenizeRequest { Text = new string('a', 200_000) });
        Assert.That(tokens.TokenIds, Has.Count.EqualTo(200_000));
    }

    [Test]
    public async Task Completion_PromptsThatTheQueueNeverTakesTogether_AreNotToldToComeAgain()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { QueueLimit = 3, QueueTokens = 100 });
        await RefusedAsync("""{"prompt":["a","b"],"n":2}""", "3 (--queue-limit)");
        await RefusedAsync($$"""{"prompt":["{{new string('a', 60)}}","{{new string('b', 60)}}"]}""", "100 prompt tokens (--queue-tokens)");
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", $$"""{"prompt":["{{new string('a', 50)}}","{{new string('b', 50)}}"],"max_tokens":1}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.ToString());

        async Task RefusedAsync(string json, string limit)
        {
            using HttpResponseMessage response = await api.SendAsync("/v1/completions", json);
            JsonElement error = (await ApiFixture.BodyAsync(response)).GetProperty("error");
            Assert.That((response.StatusCode, error.GetProperty("code").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, "request_too_large")));
            Assert.That(error.GetProperty("message").GetString(), Does.Contain(limit));
            Assert.That(response.Headers.RetryAfter, Is.Null);
        }
    }

    [Test]
    public async Task EncodingRoom_LongTexts_TakeTurnsAndShortOnesDoNotWait()
    {
        EncodingRoom room = new(characters: 100, lightCharacters: 10, TimeProvider.System);
        DateTimeOffset later = DateTimeOffset.UtcNow + s_patience;
        IDisposable first = await room.EnterAsync(60, later, CancellationToken.None);
        Task<IDisposable> second = room.EnterAsync(60, later, CancellationToken.None), third = room.EnterAsync(1000, later, CancellationToken.None);
        Assert.That((second.IsCompleted, room.EnterAsync(10, later, CancellationToken.None).IsCompleted), Is.EqualTo((false, true)));
        first.Dispose();
        (await second.WaitAsync(s_patience)).Dispose();
        IDisposable whole = await third.WaitAsync(s_patience); // longer than the room: it has all of it
        Task<IDisposable> fourth = room.EnterAsync(11, later, CancellationToken.None);
        Assert.That(fourth.IsCompleted, Is.False);
        whole.Dispose();
        whole.Dispose();
        (await fourth.WaitAsync(s_patience)).Dispose();
    }

    [Test]
    public async Task EncodingRoom_DeadlineOrDepartureWhileWaiting_LeavesTheTurnToOthers()
    {
        ManualTime time = new();
        EncodingRoom room = new(characters: 100, lightCharacters: 10, time);
        IDisposable first = await room.EnterAsync(60, time.GetUtcNow() + s_patience, CancellationToken.None);
        using CancellationTokenSource leaves = new();
        Task late = room.EnterAsync(100, time.GetUtcNow() + TimeSpan.FromSeconds(1), CancellationToken.None);
        Task gone = room.EnterAsync(100, time.GetUtcNow() + s_patience, leaves.Token);
        Task<IDisposable> next = room.EnterAsync(40, time.GetUtcNow() + s_patience, CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(2));
        await Assert.ThrowsAsync<DeadlineExceededException>(() => late.WaitAsync(s_patience));
        await leaves.CancelAsync();
        await Assert.ThatAsync(() => gone.WaitAsync(s_patience), Throws.InstanceOf<OperationCanceledException>());
        (await next.WaitAsync(s_patience)).Dispose(); // there was room for it beside the first
        first.Dispose();
    }
}
