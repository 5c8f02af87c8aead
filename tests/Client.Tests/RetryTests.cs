using Grpc.Core;
using Microsoft.Extensions.Options;
using NUnit.Framework;
using TpServe.Client.Calls;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>Unary calls: what is tried again, what is not, and what callers are told.</summary>
public sealed class RetryTests
{
    private static readonly ChatRequest s_hi = new() { Messages = { new ChatMessage { Role = ChatRole.User, Content = "hi" } } };

    [TestCase(StatusCode.Unavailable, "GROUP_UNAVAILABLE")]
    [TestCase(StatusCode.ResourceExhausted, "QUEUE_FULL")]
    public async Task Call_ServerAsksToComeLater_IsBegunAgain(StatusCode status, string reason)
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (call, _) => call < 3 ? throw FakeServer.Fault(status, reason, TimeSpan.FromMilliseconds(1)) : FakeServer.Response();
        using TpServeClient client = server.Client();
        GenerateResponse answer = await client.ChatAsync(s_hi);
        Assert.That(answer.Outputs[0].Text, Is.EqualTo("Hello"));
        Assert.That(server.Chats, Has.Count.EqualTo(3));
    }

    [TestCase(StatusCode.ResourceExhausted, "MESSAGE_TOO_LARGE")]
    [TestCase(StatusCode.InvalidArgument, "INVALID")]
    [TestCase(StatusCode.Internal, "NOT_FINITE")]
    [TestCase(StatusCode.NotFound, "MODEL_NOT_FOUND")]
    [TestCase(StatusCode.Unimplemented, "UNIMPLEMENTED")]
    public async Task Call_ServerSaysNo_FailsAtOnceWithAllItSaid(StatusCode status, string reason)
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => throw FakeServer.Fault(status, reason, field: "sampling.top_p", limit: "0 to 1");
        using TpServeClient client = server.Client();
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await client.ChatAsync(s_hi));
        Assert.That((failure!.Status, failure.Reason, failure.Field, failure.Limit, failure.RetryAfter), Is.EqualTo((status, reason, "sampling.top_p", "0 to 1", (TimeSpan?)null)));
        Assert.That(failure.Message, Is.EqualTo($"It is {reason}."));
        Assert.That(server.Chats, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Call_AlwaysRefused_FailsAfterMaxAttempts()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => throw FakeServer.Fault(StatusCode.Unavailable, "DRAINING", TimeSpan.FromMilliseconds(1));
        using TpServeClient client = server.Client(options => options.MaxAttempts = 3);
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await client.ChatAsync(s_hi));
        Assert.That((failure!.Reason, failure.RetryAfter), Is.EqualTo(("DRAINING", TimeSpan.FromMilliseconds(1))));
        Assert.That(server.Chats, Has.Count.EqualTo(3));
    }

    [TestCase(3, 3600, Description = "longer than MaxRetryAfter")]
    [TestCase(30, 20, Description = "longer than the deadline")]
    public async Task Call_AskedToWaitTooLong_FailsAtOnce(int deadlineSeconds, int retrySeconds)
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => throw FakeServer.Fault(StatusCode.ResourceExhausted, "QUEUE_FULL", TimeSpan.FromSeconds(retrySeconds));
        using TpServeClient client = server.Client(options => options.MaxRetryAfter = TimeSpan.FromSeconds(deadlineSeconds));
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await client.ChatAsync(s_hi, timeout: TimeSpan.FromSeconds(10)));
        Assert.That(failure!.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(retrySeconds)));
        Assert.That(server.Chats, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Call_NobodyListens_IsTriedAndFailsAsTheConnections()
    {
        using TpServeClient client = new(FakeServer.Options($"http://127.0.0.1:{Testing.Processes.FreePort()}"));
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await client.TokenizeAsync(new TokenizeRequest { Text = "x" }));
        Assert.That((failure!.Status, failure.Reason, failure.IsCut), Is.EqualTo((StatusCode.Unavailable, (string?)null, true)));
    }

    [Test]
    public async Task Call_Cancelled_ThrowsWithItsToken()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => throw FakeServer.Fault(StatusCode.Unavailable, "DRAINING", TimeSpan.FromSeconds(20));
        using CancellationTokenSource cancellation = new();
        using TpServeClient client = server.Client();
        Task<GenerateResponse> call = client.ChatAsync(s_hi, cancellationToken: cancellation.Token);
        await cancellation.CancelAsync();
        OperationCanceledException? end = await Assert.CatchAsync<OperationCanceledException>(async () => await call.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.That(end!.CancellationToken, Is.EqualTo(cancellation.Token));
    }

    [Test]
    public async Task Call_Deadline_IsTheWholeCallsAndReachesTheServer()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        TaskCompletionSource<DateTime> told = new();
        server.Streams = async call =>
        {
            told.SetResult(call.Context.Deadline);
            await Task.Delay(Timeout.Infinite, call.Context.CancellationToken);
        };
        using TpServeClient client = server.Client();
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await ResumeTests.ReadAsync(client.ChatStreamAsync(s_hi, timeout: TimeSpan.FromMilliseconds(300))));
        Assert.That(failure!.Status, Is.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That(await told.Task, Is.LessThan(DateTime.UtcNow + TimeSpan.FromSeconds(1)));
    }

    [Test]
    public async Task Call_Headers_HoldTheKeyAndWhatTheHookGives()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        int asked = 0;
        using TpServeClient client = server.Client(options =>
        {
            options.ApiKey = "secret";
            options.Model = "mine";
            options.Metadata = _ => ValueTask.FromResult<IReadOnlyDictionary<string, string>>(new Dictionary<string, string> { ["x-tenant"] = $"t{++asked}" });
        });
        await client.ChatAsync(s_hi);
        await client.ChatAsync(new ChatRequest(s_hi) { Model = "other" });
        Assert.That((server.Headers.GetValue("authorization"), server.Headers.GetValue("x-tenant")), Is.EqualTo(("Bearer secret", "t2")));
        Assert.That(server.Chats.Select(chat => chat.Model), Is.EqualTo(new[] { "mine", "other" }));
        Assert.That(s_hi.HasModel, Is.False, "the caller's message stays as it is");
    }

    [Test]
    public async Task Call_AnswerLargerThanGrpcsDefaultLimit_IsRead()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => FakeServer.Response(new Output { Text = new string('a', 6 << 20) });
        using TpServeClient client = server.Client();
        Assert.That((await client.ChatAsync(s_hi)).Outputs[0].Text, Has.Length.EqualTo(6 << 20));
    }

    [Test]
    public async Task Streams_MoreThanOneConnectionCarries_RunAtOnce()
    {
        const int Streams = 150; // a connection of this server carries 100
        await using FakeServer server = await FakeServer.StartAsync();
        using CountdownEvent open = new(Streams);
        TaskCompletionSource all = new();
        server.Streams = async call =>
        {
            await call.WriteAsync(1, 2);
            if (open.Signal())
                all.SetResult();
            await all.Task.WaitAsync(TimeSpan.FromSeconds(20));
            await call.WriteAsync(3, 3);
        };
        using TpServeClient client = server.Client();
        List<GenerateEvent>[] read = await Task.WhenAll(Enumerable.Range(0, Streams).Select(_ => ResumeTests.ReadAsync(client.ChatStreamAsync(s_hi))));
        Assert.That(read.Select(events => string.Concat(events.Select(happened => happened.Delta?.Text))), Is.All.EqualTo("ab"));
    }

    [Test]
    public async Task Policy_Waits_WhatTheServerAsksAndABoundedRandomTime()
    {
        TpServeClientOptions options = new() { FirstBackoff = TimeSpan.FromMilliseconds(100), MaxBackoff = TimeSpan.FromMilliseconds(400) };
        for (int failed = 1; failed <= 40; failed++)
        {
            ManualTime time = new();
            double bound = Math.Min(400, 100 * Math.Pow(2, failed - 1));
            double expected = 2000 + new Random(failed).NextDouble() * bound;
            TpServeException failure = TpServeException.From(FakeServer.Fault(StatusCode.Unavailable, "DRAINING", TimeSpan.FromSeconds(2)));
            Task<bool> wait = new RetryPolicy(options, time, new Random(failed)).WaitAsync(failure, failed, deadline: null, CancellationToken.None).AsTask();
            time.Advance(TimeSpan.FromMilliseconds(expected - 1));
            Assert.That(wait.IsCompleted, Is.False);
            time.Advance(TimeSpan.FromMilliseconds(2));
            Assert.That(await wait.WaitAsync(TimeSpan.FromSeconds(10)), Is.True);
        }
    }

    [Test]
    public void Options_Wrong_AreAllNamedAtOnce()
    {
        TpServeClientOptions options = new() { Address = new Uri("ftp://x"), MaxAttempts = 0, MaxMessageBytes = 1, Deadline = TimeSpan.Zero, MaxBackoff = TimeSpan.FromMilliseconds(1) };
        OptionsValidationException? wrong = Assert.Throws<OptionsValidationException>(() => new TpServeClient(options));
        Assert.That(wrong!.Failures.Count(), Is.EqualTo(5));
        foreach (string name in new[] { "Address", "MaxAttempts", "MaxMessageBytes", "Deadline", "MaxBackoff" })
            Assert.That(wrong.Message, Does.Contain(name));
    }
}
