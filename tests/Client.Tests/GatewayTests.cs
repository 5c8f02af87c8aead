using Grpc.Core;
using Microsoft.Extensions.AI;
using NUnit.Framework;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>The client against the gateway's whole API, over workers that say what a test scripts.</summary>
public sealed class GatewayTests
{
    private const string Says = "The quick brown fox jumps.";

    private static TpServeClient Client(ApiFixture api, string? address = null, Action<TpServeClientOptions>? set = null) =>
        new(FakeServer.Options(address ?? $"http://{api.Channel.Target}", set));

    [Test]
    public async Task Chat_StreamAndWhole_Agree()
    {
        await using ApiFixture api = await ApiFixture.StartAsync(Says);
        using TpServeClient client = Client(api);
        IChatClient chat = client.AsIChatClient();
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 40 };
        ChatResponse whole = await chat.GetResponseAsync("hi", options);
        ChatResponse streamed = await chat.GetStreamingResponseAsync("hi", options).ToChatResponseAsync();
        Assert.That((whole.Text, whole.FinishReason, whole.ModelId), Is.EqualTo((Says, (ChatFinishReason?)ChatFinishReason.Stop, "test-model")));
        Assert.That((streamed.Text, streamed.FinishReason, streamed.Usage!.OutputTokenCount), Is.EqualTo((whole.Text, whole.FinishReason, whole.Usage!.OutputTokenCount)));
    }

    [Test]
    public async Task Stream_ConnectionResetTwice_HasEveryTokenOnce()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says(Says), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        await using CuttableRelay relay = new($"http://{api.Channel.Target}");
        using TpServeClient client = Client(api, relay.Address);
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        List<GenerateEvent> events = [];
        string text = "";
        int cuts = 0;
        group.Allow(6);
        await foreach (GenerateEvent happened in client.GenerateStreamAsync(new GenerateRequest { Text = "abc" }, cancellationToken: deadline.Token))
        {
            events.Add(happened);
            text += happened.Delta?.Text;
            if (text.Length is 3 or 10 && happened.Delta is not null)
            {
                cuts++;
                relay.Cut();
                group.Allow(text.Length == 3 ? 7 : 100);
            }
        }
        Assert.That(text, Is.EqualTo(Says));
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(Enumerable.Range(1, events.Count).Select(seq => (ulong)seq)));
        Assert.That((cuts, relay.Connections), Is.EqualTo((2, 3)));
        Assert.That(events[^1].Finished.CompletionTokens, Is.EqualTo(Says.Length + 1));
    }

    [Test]
    public async Task Stream_ConnectionResetBeforeItsFirstEvent_RunsOnce()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says(Says), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        await using CuttableRelay relay = new($"http://{api.Channel.Target}");
        using TpServeClient client = Client(api, relay.Address);
        Task<List<GenerateEvent>> reading = ResumeTests.ReadAsync(client.GenerateStreamAsync(new GenerateRequest { Text = "abc" }));
        await group.StepBeganAsync();
        relay.Cut();
        group.Allow(100);
        List<GenerateEvent> events = await reading.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(string.Concat(events.Select(happened => happened.Delta?.Text)), Is.EqualTo(Says));
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(Enumerable.Range(1, events.Count).Select(seq => (ulong)seq)));
        Assert.That(relay.Connections, Is.EqualTo(2));
    }

    [Test]
    public async Task Stream_ConnectionFallsSilent_IsNoticedAndResumed()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says(Says), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        await using CuttableRelay relay = new($"http://{api.Channel.Target}");
        using TpServeClient client = Client(api, relay.Address, options => (options.KeepAlivePeriod, options.KeepAliveTimeout) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1)));
        using CancellationTokenSource deadline = new(TimeSpan.FromSeconds(30));
        string text = "";
        group.Allow(6);
        await foreach (GenerateEvent happened in client.GenerateStreamAsync(new GenerateRequest { Text = "abc" }, cancellationToken: deadline.Token))
        {
            text += happened.Delta?.Text;
            if (text.Length == 3 && happened.Delta is not null)
            {
                relay.Silence();
                group.Allow(100);
            }
        }
        Assert.That((text, relay.Connections), Is.EqualTo((Says, 2)));
    }

    [Test]
    public async Task Stream_Cancelled_EndsAtOnceWithTheToken()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says(Says), Manual = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        using TpServeClient client = Client(api);
        using CancellationTokenSource cancellation = new();
        group.Allow(4);
        OperationCanceledException? end = await Assert.CatchAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerateEvent happened in client.GenerateStreamAsync(new GenerateRequest { Text = "abc" }, cancellationToken: cancellation.Token))
                if (happened.Delta is not null)
                    await cancellation.CancelAsync();
        });
        Assert.That(end!.CancellationToken.IsCancellationRequested, Is.True);
    }

    [Test]
    public async Task Refusal_HasReasonFieldAndLimit()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using TpServeClient client = Client(api);
        TpServeException? refused = await Assert.ThrowsAsync<TpServeException>(async () => await client.GenerateAsync(new GenerateRequest { Text = "a", Sampling = new SamplingOptions { TopP = 2 } }));
        Assert.That((refused!.Status, refused.Field), Is.EqualTo((StatusCode.InvalidArgument, "top_p")));
        Assert.That((refused.Reason, refused.Limit), Is.Not.EqualTo(((string?)null, (string?)null)));
        Assert.That((await Assert.ThrowsAsync<TpServeException>(async () => await client.DetokenizeAsync(new DetokenizeRequest { Model = "other" })))!.Status, Is.EqualTo(StatusCode.NotFound));
    }

    [Test]
    public async Task OtherCalls_Work()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using TpServeClient client = Client(api);
        TokenizeResponse tokens = await client.TokenizeAsync(new TokenizeRequest { Text = "abc" });
        Assert.That((await client.DetokenizeAsync(new DetokenizeRequest { TokenIds = { tokens.TokenIds } })).Text, Is.EqualTo("abc"));
        Assert.That((await client.ListModelsAsync()).Models.Single().Id, Is.EqualTo("test-model"));
        Assert.That((await client.GetServerInfoAsync()).MaxModelLen, Is.EqualTo(ApiFixture.Settings.MaxModelLen));
        Assert.That((await Assert.ThrowsAsync<TpServeException>(async () => await client.AbortAsync("none")))!.Reason, Is.EqualTo("REQUEST_NOT_FOUND"));
    }

    [Test]
    public async Task Chat_WrongRegex_IsRefusedByItsField()
    {
        await using ApiFixture api = await ApiFixture.StartAsync("maybe");
        using TpServeClient client = Client(api);
        TpServeException? refused = await Assert.ThrowsAsync<TpServeException>(async () => await client.AsIChatClient().GetResponseAsync("hi", new ChatOptions
        {
            AdditionalProperties = new AdditionalPropertiesDictionary { ["regex"] = "(?=a)b" },
        }));
        Assert.That(refused!.Field, Does.Contain("constraint"));
    }
}
