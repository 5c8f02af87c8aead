using NUnit.Framework;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Protos.V1;
using static TpServe.Gateway.Tests.Engine.EngineFixture;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>Whatever goes wrong, every request ends, definitely and at once, and what it held is free.</summary>
public sealed class EngineFaultTests
{
    private static readonly ServingSettings s_oneAtATime = new()
    {
        MaxModelLen = 128,
        MaxStepTokens = 32,
        ChunkTokens = 32,
        MaxSequences = 1,
        QueueLimit = 2,
    };

    private static FakeWorkerGroup Manual() => new() { Manual = true };

    [Test]
    public async Task Cancel_WhileAStepRuns_FreesBlocksBeforeTheNextStep()
    {
        await using EngineFixture fixture = new(group: Manual());
        using CancellationTokenSource client = new();
        Task<List<GenerationEvent>> request = fixture.RunAsync(Text("prompt"), cancellation: client.Token);
        await fixture.Group.StepBeganAsync();
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.GreaterThan(0));
        await client.CancelAsync();
        await Assert.ThatAsync(async () => await request, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);

        fixture.Group.Manual = false;
        fixture.Group.Allow();
        await fixture.AnswerAsync(Text("next"));
        Assert.That(fixture.Group.Plans.SelectMany(plan => plan.Finished), Is.EqualTo(new ulong[] { 1 }));
    }

    [Test]
    public async Task Deadline_WhileRunning_EndsTheRequest()
    {
        await using EngineFixture fixture = new(group: Manual());
        Task<List<GenerationEvent>> request = fixture.RunAsync(Text("prompt"), deadline: fixture.Time.GetUtcNow() + TimeSpan.FromSeconds(3));
        await fixture.Group.StepBeganAsync();
        fixture.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.That(request.IsCompleted, Is.False);
        fixture.Time.Advance(TimeSpan.FromSeconds(1));
        await Assert.ThatAsync(async () => await request, Throws.TypeOf<DeadlineExceededException>());
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);
    }

    [Test]
    public async Task Deadline_WhileNoGroupIsReady_EndsTheQueuedRequest()
    {
        await using EngineFixture fixture = new(start: false);
        Task<List<GenerationEvent>> request = fixture.RunAsync(Text("prompt"), deadline: fixture.Time.GetUtcNow() + TimeSpan.FromSeconds(3));
        fixture.Time.Advance(TimeSpan.FromSeconds(4));
        await Assert.ThatAsync(async () => await request, Throws.TypeOf<DeadlineExceededException>());
        Assert.That(fixture.Engine.Load().WaitingSequences, Is.Zero);
    }

    [Test]
    public async Task Add_GroupStarting_WaitsAndThenRuns()
    {
        await using EngineFixture fixture = new(start: false);
        Task<(string Text, FinishedEvent)> request = fixture.AnswerAsync(Text("prompt", maxTokens: 4));
        Assert.That(fixture.Engine.Load().WaitingSequences, Is.EqualTo(1));
        Assert.That(fixture.Engine.IsReady, Is.False);
        fixture.Group.Start();
        Assert.That((await request).Text, Has.Length.EqualTo(4));
        Assert.That(fixture.Engine.IsReady, Is.True);
    }

    [Test]
    public async Task Add_QueueFull_IsRefusedAtOnce()
    {
        await using EngineFixture fixture = new(s_oneAtATime, Manual());
        Task[] accepted = [fixture.RunAsync(Text("runs"))];
        await fixture.Group.StepBeganAsync();
        accepted = [.. accepted, fixture.RunAsync(Text("waits")), fixture.RunAsync(Text("waits"))];
        await Assert.ThatAsync(async () => await fixture.RunAsync(Text("too many")), Throws.TypeOf<QueueFullException>());
        fixture.Group.Manual = false;
        fixture.Group.Allow();
        await Task.WhenAll(accepted);
    }

    [Test]
    public async Task WorkerLost_WhileIdle_TheNextRequestRunsInTheNewLife()
    {
        await using EngineFixture fixture = new();
        string expected = (await fixture.AnswerAsync(Text("prompt"))).Text;
        fixture.Group.Lose("rank 0 exited");
        fixture.Group.Start();
        Assert.That((await fixture.AnswerAsync(Text("prompt"))).Text, Is.EqualTo(expected));
        Assert.That(fixture.Group.Plans[^1].Epoch, Is.EqualTo(2));
    }

    [Test]
    public async Task Abort_Running_FinishesAsAbortedWithTheTextSoFar()
    {
        await using EngineFixture fixture = new(group: Manual());
        fixture.Group.NextToken = FakeWorkerGroup.Says("abc");
        GenerateRequest named = Text("prompt");
        named.RequestId = "mine";
        named.Stopping.Stop.Add("abX"); // holds "ab" back
        Task<List<GenerationEvent>> request = fixture.RunAsync(named);
        fixture.Group.Allow(2);
        Assert.That(() => fixture.Engine.Load().GeneratedTokens, Is.EqualTo(2).After(20_000, 5));
        Assert.That(fixture.Engine.Abort("mine", null), Is.True);
        List<GenerationEvent> events = await request;
        Assert.That(TextOf(events), Is.EqualTo("ab"));
        Assert.That(((FinishedEvent)events[^1]).Reason, Is.EqualTo(EndReason.Aborted));
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);
        Assert.That(fixture.Engine.Abort("mine", null), Is.False);
    }

    [Test]
    public async Task Add_NameInUse_IsRefused()
    {
        await using EngineFixture fixture = new(group: Manual());
        GenerateRequest named = Text("prompt");
        named.RequestId = "mine";
        Task first = fixture.RunAsync(named);
        await fixture.Group.StepBeganAsync();
        await Assert.ThatAsync(async () => await fixture.RunAsync(named), Throws.TypeOf<RequestRejectedException>().With.Property("Reason").EqualTo("REQUEST_ID_IN_USE"));
        fixture.Group.Manual = false;
        fixture.Group.Allow();
        await first;
    }

    [Test]
    public async Task Add_LargerThanTheCache_IsRefusedAtTheDoor()
    {
        await using EngineFixture fixture = new(group: new FakeWorkerGroup(kvBlocks: 4, blockTokens: 4));
        await fixture.AnswerAsync(Text("warm up", maxTokens: 2));
        RequestRejectedException? refused = await Assert.ThrowsAsync<RequestRejectedException>(async () => await fixture.RunAsync(Text("prompt", maxTokens: 12)));
        Assert.That(refused!.Message, Does.Contain("17 tokens").And.Contain("16"));
        await fixture.AnswerAsync(Text("prompt", maxTokens: 11));
    }

    [Test]
    public async Task Drain_InFlightEndsAndNewAreRefused()
    {
        await using EngineFixture fixture = new(group: Manual());
        Task<List<GenerationEvent>> request = fixture.RunAsync(Text("prompt", maxTokens: 2));
        await fixture.Group.StepBeganAsync();
        using CancellationTokenSource impatient = new();
        Task<int> drain = fixture.Engine.DrainAsync(impatient.Token);
        await Assert.ThatAsync(
            async () => await fixture.RunAsync(Text("late")), Throws.TypeOf<EngineUnavailableException>().With.Property("Reason").EqualTo("DRAINING"));
        Task<int> shortDrain = fixture.Engine.DrainAsync(new CancellationToken(canceled: true));
        Assert.That(await shortDrain, Is.EqualTo(1));
        fixture.Group.Allow(9);
        await request;
        Assert.That(await drain.WaitAsync(TimeSpan.FromSeconds(20)), Is.Zero);
        Assert.That(fixture.Engine.IsReady, Is.False);
    }

    [Test]
    public async Task Stop_InFlight_EndsUnavailable()
    {
        await using EngineFixture fixture = new(group: Manual());
        Task<List<GenerationEvent>> request = fixture.RunAsync(Text("prompt"));
        await fixture.Group.StepBeganAsync();
        fixture.Engine.Stop();
        await Assert.ThatAsync(async () => await request, Throws.TypeOf<EngineUnavailableException>().With.Property("Reason").EqualTo("STOPPING"));
    }

    [Test]
    public async Task Group_AnswersAnotherStep_IsCondemnedAndTheRequestGoesOn()
    {
        await using EngineFixture fixture = new(group: new FakeWorkerGroup { Restarts = true });
        string expected = (await fixture.AnswerAsync(Text("prompt", maxTokens: 5))).Text;
        int spoilt = 0;
        fixture.Group.Spoil = result => result.Step += spoilt++ == 0 ? 1 : 0;
        Assert.That((await fixture.AnswerAsync(Text("prompt", maxTokens: 5))).Text, Is.EqualTo(expected));
        Assert.That(fixture.Group.Condemned.Single(), Does.Contain("expected epoch 1"));
    }
}
