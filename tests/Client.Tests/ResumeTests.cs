using Grpc.Core;
using NUnit.Framework;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>Streams over connections that break: every event once, bounded attempts, and what the server says is final.</summary>
public sealed class ResumeTests
{
    private static readonly GenerateRequest s_request = new() { Text = "x" };

    internal static async Task<List<GenerateEvent>> ReadAsync(IAsyncEnumerable<GenerateEvent> stream)
    {
        List<GenerateEvent> events = [];
        await foreach (GenerateEvent happened in stream)
            events.Add(happened);
        return events;
    }

    private static string Text(IEnumerable<GenerateEvent> events) => string.Concat(events.Select(happened => happened.Delta?.Text));

    [Test]
    public async Task Stream_CutAfterEveryEvent_GivesEachOnce()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        using SemaphoreSlim seen = new(0); // a reset overtakes what was written before it
        server.Streams = async call =>
        {
            ulong next = (call.After ?? 0) + 1;
            if (next == 12)
            {
                await call.FinishAsync(next);
                return;
            }
            await call.WriteAsync(next, next);
            Assert.That(await seen.WaitAsync(TimeSpan.FromSeconds(10)), Is.True);
            call.Cut();
        };
        using TpServeClient client = server.Client();
        List<GenerateEvent> events = [];
        await foreach (GenerateEvent happened in client.GenerateStreamAsync(s_request))
        {
            events.Add(happened);
            seen.Release();
        }
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(Enumerable.Range(1, 12).Select(seq => (ulong)seq)));
        Assert.That(Text(events), Is.EqualTo("abcdefghij"));
        Assert.That(server.Calls.Select(call => call.RequestId).Distinct().Count(), Is.EqualTo(1));
        Assert.That(server.Calls.Select(call => call.After), Is.EqualTo(Enumerable.Range(0, 12).Select(after => after == 0 ? (ulong?)null : (ulong)after)));
    }

    // A reset overtakes some of what was written before it: how much is chance, and must not matter.
    [Test]
    public async Task Stream_CutAtRandomPlaces_HasEveryEventOnce([Range(1, 20)] int seed)
    {
        Random random = new(seed);
        await using FakeServer server = await FakeServer.StartAsync();
        using SemaphoreSlim seen = new(0);
        server.Streams = async call =>
        {
            ulong next = (call.After ?? 0) + 1, last = Math.Min(20, next + (ulong)random.Next(6));
            await call.WriteAsync(next, last);
            if (last == 20)
                await call.FinishAsync(21);
            else
            {
                for (ulong enough = next + (ulong)random.Next((int)(last - next) + 1); next <= enough; next++)
                    Assert.That(await seen.WaitAsync(TimeSpan.FromSeconds(10)), Is.True);
                call.Cut();
            }
        };
        using TpServeClient client = server.Client(options => options.MaxResumes = 50);
        List<GenerateEvent> events = [];
        await foreach (GenerateEvent happened in client.GenerateStreamAsync(s_request))
        {
            events.Add(happened);
            seen.Release();
        }
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(Enumerable.Range(1, 21).Select(seq => (ulong)seq)));
    }

    [Test]
    public async Task Stream_ServerRepeatsEvents_HandsThemOutOnce()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            if (call.Number == 1)
            {
                await call.WriteAsync(1, 4);
                throw new InvalidOperationException("a bare UNKNOWN, as a proxy gives");
            }
            await call.WriteAsync(2, 6);
            await call.FinishAsync(7);
        };
        using TpServeClient client = server.Client();
        List<GenerateEvent> events = await ReadAsync(client.GenerateStreamAsync(s_request));
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(new ulong[] { 1, 2, 3, 4, 5, 6, 7 }));
        Assert.That(server.Calls.Select(call => call.After), Is.EqualTo(new ulong?[] { null, 4 }));
    }

    [Test]
    public async Task Stream_ServerSkipsAnEvent_IsAFaultAndNotALoss()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            await call.WriteAsync(1, 2);
            await call.WriteAsync(4, 4);
        };
        using TpServeClient client = server.Client();
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await ReadAsync(client.GenerateStreamAsync(s_request)));
        Assert.That((failure!.Status, failure.Message), Is.EqualTo((StatusCode.DataLoss, "Event 4 came after event 2.")));
    }

    [Test]
    public async Task Stream_NeverComesBack_FailsAfterMaxResumes()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            if (call.Number == 1)
                await call.WriteAsync(1, 3);
            throw new InvalidOperationException("a bare UNKNOWN");
        };
        using TpServeClient client = server.Client(options => options.MaxResumes = 4);
        Assert.That((await Assert.ThrowsAsync<TpServeException>(async () => await ReadAsync(client.GenerateStreamAsync(s_request))))!.Status, Is.EqualTo(StatusCode.Unknown));
        Assert.That(server.Calls, Has.Count.EqualTo(5));
    }

    [Test]
    public async Task Stream_ServerSaysWhyItEnds_IsFinal()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            await call.WriteAsync(1, 3);
            throw FakeServer.Fault(StatusCode.Unavailable, "WORKER_LOST", TimeSpan.FromMilliseconds(1));
        };
        using TpServeClient client = server.Client();
        Assert.That((await Assert.ThrowsAsync<TpServeException>(async () => await ReadAsync(client.GenerateStreamAsync(s_request))))!.Reason, Is.EqualTo("WORKER_LOST"));
        Assert.That(server.Calls, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Stream_RefusedBeforeItsFirstEvent_IsBegunAgainUnderItsName()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            if (call.Number < 3)
                throw FakeServer.Fault(StatusCode.ResourceExhausted, "QUEUE_FULL", TimeSpan.FromMilliseconds(1));
            await call.WriteAsync(1, 3);
        };
        using TpServeClient client = server.Client();
        Assert.That(Text(await ReadAsync(client.GenerateStreamAsync(new GenerateRequest { Text = "x", RequestId = "mine" }))), Is.EqualTo("ab"));
        Assert.That(server.Calls.Select(call => (call.RequestId, call.After)), Is.EqualTo(new (string, ulong?)[] { ("mine", null), ("mine", null), ("mine", null) }));
    }

    [Test]
    public async Task Stream_TakenButCutBeforeItsFirstEvent_IsResumedFromItsBeginning()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            if (call.Number == 1)
                throw new RpcException(new Status(StatusCode.Unavailable, "a proxy lost the server"));
            if (call.Number == 2)
                throw FakeServer.Fault(StatusCode.AlreadyExists, "REQUEST_EXISTS");
            await call.WriteAsync(1, 3);
        };
        using TpServeClient client = server.Client();
        Assert.That(Text(await ReadAsync(client.GenerateStreamAsync(s_request))), Is.EqualTo("ab"));
        Assert.That(server.Calls.Select(call => call.After), Is.EqualTo(new ulong?[] { null, null, 0 }));
    }

    [Test]
    public async Task Stream_NameOfAnother_IsNotRead()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = call => throw FakeServer.Fault(StatusCode.AlreadyExists, "REQUEST_EXISTS");
        using TpServeClient client = server.Client();
        TpServeException? failure = await Assert.ThrowsAsync<TpServeException>(async () => await ReadAsync(client.GenerateStreamAsync(new GenerateRequest { Text = "x", RequestId = "taken" })));
        Assert.That(failure!.Reason, Is.EqualTo("REQUEST_EXISTS"));
        Assert.That(server.Calls, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Stream_Left_CancelsTheCall()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        TaskCompletionSource left = new();
        server.Streams = async call =>
        {
            await using CancellationTokenRegistration _ = call.Context.CancellationToken.Register(() => left.TrySetResult());
            await call.WriteAsync(1, 2);
            await left.Task;
        };
        using TpServeClient client = server.Client();
        await foreach (GenerateEvent happened in client.GenerateStreamAsync(s_request))
            if (happened.Delta is not null)
                break;
        await left.Task.WaitAsync(TimeSpan.FromSeconds(10));
    }

    [Test]
    public async Task ResumeStream_FromWhereAnotherStopped_GivesTheRest()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Streams = async call =>
        {
            await call.WriteAsync(call.After!.Value + 1, 4);
            await call.FinishAsync(5);
        };
        using TpServeClient client = server.Client();
        List<GenerateEvent> events = await ReadAsync(client.ResumeStreamAsync("mine", afterSeq: 2));
        Assert.That(events.Select(happened => happened.Seq), Is.EqualTo(new ulong[] { 3, 4, 5 }));
        Assert.That(server.Calls.Single().RequestId, Is.EqualTo("mine"));
    }
}
