using NUnit.Framework;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using static TpServe.Gateway.Tests.Engine.EngineFixture;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>A group that is lost, a client that is gone: streams go on with exactly what they would have had, or end for a reason of their own.</summary>
public sealed class EngineRecoveryTests
{
    private static readonly ServingSettings s_settings = new() { MaxModelLen = 128, MaxStepTokens = 32, ChunkTokens = 8, MaxSequences = 16, QueueLimit = 16 };

    private static GenerateRequest Everything(int seed, int maxTokens = 12)
    {
        GenerateRequest request = Text($"prompt of request {seed}", maxTokens);
        request.Sampling = new SamplingOptions { Temperature = seed % 2, Seed = (ulong)seed, N = 1 + seed % 3 };
        request.Stopping.Stop.Add("zz");
        request.Response = new ResponseOptions { Logprobs = true, TopLogprobs = 2, PromptLogprobs = 1, TokenIds = true };
        request.RequestId = $"request-{seed}";
        return request;
    }

    /// <summary>Everything a client sees of a request, however it was cut into events.</summary>
    private static string Seen(IEnumerable<GenerationEvent> events)
    {
        GenerationEvent[] all = [.. events];
        IEnumerable<int> outputs = all.OfType<FinishedEvent>().Select(finished => finished.OutputIndex).Order();
        return string.Join('\n', outputs.Select(output => $"{output}: {TextOf(all, output)} | "
            + string.Join(' ', all.OfType<DeltaEvent>().Where(delta => delta.OutputIndex == output).SelectMany(delta => delta.PromptTokens.Concat(delta.Tokens)).Select(token => $"{token.Id}({token.Logprobs})"))
            + $" | {all.OfType<FinishedEvent>().Single(finished => finished.OutputIndex == output) with { Totals = null }}"));
    }

    [Test]
    public async Task WorkerLost_AtAnyStep_EveryStreamGoesOnWithWhatItWouldHaveHad([Values(1, 2, 3, 4, 6, 9)] int step)
    {
        string[] undisturbed;
        await using (EngineFixture quiet = new(s_settings))
            undisturbed = await Task.WhenAll(Enumerable.Range(0, 6).Select(async seed => Seen(await quiet.RunAsync(Everything(seed)))));

        int steps = 0;
        await using EngineFixture fixture = new(s_settings, new FakeWorkerGroup { Restarts = true, Dies = _ => ++steps == step ? LossCause.External : null });
        string[] seen = await Task.WhenAll(Enumerable.Range(0, 6).Select(async seed => Seen(await fixture.RunAsync(Everything(seed)))));
        Assert.That(seen, Is.EqualTo(undisturbed));
        Assert.That(steps, Is.GreaterThan(step), "it died");
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);
    }

    [Test]
    public async Task WorkerLost_WhileRunning_TheStreamSaysSoAndTheQueueKeepsItsOrder()
    {
        await using EngineFixture fixture = new(s_settings with { MaxSequences = 1 }, new FakeWorkerGroup { Manual = true });
        Task<List<GenerationEvent>> running = fixture.RunAsync(Text("runs", maxTokens: 3));
        await fixture.Group.StepBeganAsync();
        Task<List<GenerationEvent>> queued = fixture.RunAsync(Text("waits", maxTokens: 3));
        fixture.Group.Manual = false;
        fixture.Group.Lose("rank 1 exited with code 137");
        fixture.Group.Start();
        Assert.That((await running).OfType<RecoveringEvent>().Single().Reason, Does.Contain("code 137"));
        Assert.That((await queued).OfType<RecoveringEvent>(), Is.Empty);
        Assert.That(fixture.Group.Plans.Where(plan => plan.Epoch == 2).SelectMany(plan => plan.NewSequences).Select(sequence => sequence.TokenIds.Count), Is.EqualTo(new[] { 4, 5 }), "'runs' before 'waits'");
    }

    [Test]
    public async Task Idle_GroupWantsItsRanksBack_GetsThemWithoutARequestAndWithoutALoss()
    {
        await using EngineFixture fixture = new(s_settings);
        await fixture.AnswerAsync(Text("prompt", maxTokens: 2));
        fixture.Group.WantsRestore = true; // while the engine sleeps
        Assert.That(() => fixture.Group.WantsRestore, Is.False.After(20_000, 20));
        List<GenerationEvent> events = await fixture.RunAsync(Text("prompt", maxTokens: 2));
        Assert.That(events.OfType<RecoveringEvent>(), Is.Empty);
        Assert.That((fixture.Group.Plans[^1].Epoch, fixture.Engine.Load().Recoveries), Is.EqualTo((2L, 0L)));
    }

    [TestCase(MoveWish.WhenIdle)]
    [TestCase(MoveWish.Now)]
    public async Task Idle_GroupWantsAnotherSplit_HasItsPause(MoveWish wish)
    {
        await using EngineFixture fixture = new(s_settings);
        await fixture.AnswerAsync(Text("prompt", maxTokens: 2));
        fixture.Group.WantsMove = wish;
        Assert.That(() => fixture.Group.MovedWith, Is.EqualTo(new[] { 0 }).After(20_000, 20));
        Assert.That((await fixture.RunAsync(Text("prompt", maxTokens: 2))).OfType<RecoveringEvent>(), Is.Empty);
        Assert.That((fixture.Group.Plans[^1].Epoch, fixture.Engine.Load().Recoveries), Is.EqualTo((2L, 0L)));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Running_GroupWantsAnotherSplit_HasItsPauseBetweenTwoStepsAndStreamsGoOn(bool refuses)
    {
        string[] undisturbed;
        await using (EngineFixture quiet = new(s_settings))
            undisturbed = await Task.WhenAll(Enumerable.Range(0, 4).Select(async seed => Seen(await quiet.RunAsync(Everything(seed)))));

        FakeWorkerGroup group = new() { RefusesMoves = refuses };
        int steps = 0;
        group.Spoil = _ =>
        {
            steps++;
            if (steps == 2)
                group.WantsMove = MoveWish.WhenIdle; // streams run: it waits
            else if (steps == 4)
                group.WantsMove = MoveWish.Now;
        };
        await using EngineFixture fixture = new(s_settings, group);
        string[] moved = await Task.WhenAll(Enumerable.Range(0, 4).Select(async seed => Seen(await fixture.RunAsync(Everything(seed)))));
        Assert.That(moved, Is.EqualTo(undisturbed));
        Assert.That(group.MovedWith, Has.Count.EqualTo(1).And.All.Positive);
        Assert.That((group.Plans[^1].Epoch, fixture.Engine.Load().Recoveries), Is.EqualTo((refuses ? 1L : 2L, 0L)));
    }

    [Test]
    public async Task WorkerLost_AgainAndAgain_EndsTheRequestAfterTheBound()
    {
        await using EngineFixture fixture = new(s_settings, new FakeWorkerGroup { Restarts = true, Dies = _ => LossCause.External });
        EngineUnavailableException? lost = await Assert.ThrowsAsync<EngineUnavailableException>(async () => await fixture.RunAsync(Text("prompt")));
        Assert.That((lost!.Reason, lost.Message), Is.EqualTo(("WORKER_LOST", "The worker group was lost 4 times while the request ran, the last time: it died of it")));
    }

    [Test]
    public async Task PoisonRequest_KillsTheGroupTwice_EndsAloneNamedAndItsMatesSurvive()
    {
        string[] undisturbed;
        await using (EngineFixture quiet = new(s_settings))
            undisturbed = await Task.WhenAll(Enumerable.Range(0, 4).Select(async seed => Seen(await quiet.RunAsync(Everything(seed)))));

        await using EngineFixture fixture = new(s_settings, new FakeWorkerGroup { Restarts = true });
        ulong poison = 0;
        int deaths = 0;
        fixture.Group.Dies = plan =>
        {
            poison = plan.NewSequences.FirstOrDefault(sequence => sequence.TokenIds[0] == '!')?.SequenceId ?? poison;
            if (!plan.Sequences.Any(rows => rows.SequenceId == poison && rows.StartPosition + rows.Tokens > 9))
                return null;
            deaths++;
            return LossCause.Worker;
        };
        Task<string>[] good = [.. Enumerable.Range(0, 4).Select(async seed => Seen(await fixture.RunAsync(Everything(seed))))];
        RequestFaultException? fault = await Assert.ThrowsAsync<RequestFaultException>(async () => await fixture.RunAsync(Text("!poison", maxTokens: 20)));
        Assert.That((fault!.Reason, fault.Message), Is.EqualTo(("POISON_REQUEST", "The workers failed twice at this request: it died of it")));
        Assert.That(await Task.WhenAll(good), Is.EqualTo(undisturbed));
        Assert.That(deaths, Is.EqualTo(2));
    }

    [Test]
    public async Task RowsThatAreNotFinite_EndTheirRequestAlone()
    {
        await using EngineFixture fixture = new(s_settings);
        string expected = (await fixture.AnswerAsync(Text("good", maxTokens: 8))).Text;
        ulong bad = 0;
        fixture.Group.Spoil = result =>
        {
            bad = fixture.Group.Plans[^1].NewSequences.Concat(fixture.Group.Plans[^2].NewSequences).FirstOrDefault(sequence => sequence.TokenIds[0] == '!')?.SequenceId ?? bad;
            foreach (Protos.Worker.SequenceResult sequence in result.Sequences.Where(sequence => sequence.SequenceId == bad))
                sequence.Fault = "the logits are not finite";
        };
        Task<(string Text, FinishedEvent)> good = fixture.AnswerAsync(Text("good", maxTokens: 8));
        RequestFaultException? fault = await Assert.ThrowsAsync<RequestFaultException>(async () => await fixture.RunAsync(Text("!bad", maxTokens: 8)));
        Assert.That((fault!.Reason, fault.Message), Is.EqualTo(("NOT_FINITE", "The request's own arithmetic failed at token 4: the logits are not finite.")));
        Assert.That((await good).Text, Is.EqualTo(expected));
    }

    [Test]
    public async Task OneOfSeveralOutputsIsNotFinite_EndsTheRequestAndTheEngineLives()
    {
        await using EngineFixture fixture = new(s_settings);
        int steps = 0;
        fixture.Group.Spoil = result =>
        {
            if (++steps == 4)
                result.Sequences[0].Fault = "the logits are not finite";
        };
        GenerateRequest request = Text("prompt", maxTokens: 8);
        request.Sampling.N = 3;
        await Assert.ThatAsync(async () => await fixture.RunAsync(request), Throws.TypeOf<RequestFaultException>());
        Assert.That((await fixture.AnswerAsync(Text("next", maxTokens: 3))).Text, Has.Length.EqualTo(3));
        Assert.That(fixture.Engine.Load().UsedBlocks, Is.Zero);
    }

    [Test]
    public async Task Add_NameOfAStreamThatEndedAndIsStillRead_IsFree()
    {
        await using EngineFixture fixture = new(s_settings);
        GenerateRequest request = Text("prompt", maxTokens: 2);
        request.RequestId = "mine";
        await using IAsyncEnumerator<GenerationEvent> slow = fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true).GetAsyncEnumerator();
        Assert.That(await slow.MoveNextAsync(), Is.True);
        Assert.That(() => fixture.Engine.Load().GeneratedTokens, Is.EqualTo(2).After(10_000, 5));
        Assert.That(await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true)), Is.Not.Empty);
        Assert.That(await slow.MoveNextAsync(), Is.True, "the first stream goes on to its end");
    }

    [Test]
    public async Task CircuitOpens_WaitingAndNewAreRefusedWithTheReasonUntilItCloses()
    {
        await using EngineFixture fixture = new(s_settings, new FakeWorkerGroup { Manual = true });
        Task<List<GenerationEvent>> running = fixture.RunAsync(Text("prompt", maxTokens: 3));
        await fixture.Group.StepBeganAsync();
        fixture.Group.Manual = false;
        fixture.Group.Lose("rank 1 exited");
        fixture.Group.Break("model.gguf does not exist");
        EngineUnavailableException? refused = await Assert.ThrowsAsync<EngineUnavailableException>(async () => await running);
        Assert.That((refused!.Reason, refused.Message), Is.EqualTo(("GROUP_UNAVAILABLE", "The worker group is not available: model.gguf does not exist")));
        await Assert.ThatAsync(async () => await fixture.RunAsync(Text("late")), Throws.TypeOf<EngineUnavailableException>().With.Message.Contains("does not exist"));
        Assert.That(() => fixture.Engine.RequireRoom(), Throws.TypeOf<EngineUnavailableException>());
        fixture.Group.Start();
        await fixture.AnswerAsync(Text("prompt", maxTokens: 3));
    }

    private static async Task<List<GenerationEvent>> ReadAsync(IAsyncEnumerable<GenerationEvent> events, int atMost = int.MaxValue)
    {
        List<GenerationEvent> read = [];
        async Task Read()
        {
            await foreach (GenerationEvent happened in events)
            {
                read.Add(happened);
                if (read.Count == atMost)
                    return;
            }
        }
        await Read().WaitAsync(TimeSpan.FromSeconds(20));
        return read;
    }

    [Test]
    public async Task Resume_ClientComesBack_SeesEverythingFromTheFirstEventAndNothingTwice([Values(1, 2, 5)] int read)
    {
        await using EngineFixture fixture = new(s_settings);
        string expected = Seen(await fixture.RunAsync(Everything(4)));
        GenerateRequest request = Everything(4);
        request.RequestId = "mine";
        List<GenerationEvent> first = await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true), read);
        Assert.That(() => fixture.Engine.Load().UsedBlocks, Is.Zero.After(10_000, 5), "a client that left holds nothing");
        List<GenerationEvent> whole = await ReadAsync(fixture.Engine.ResumeAsync("mine", null));
        Assert.That(whole.Take(read), Is.EqualTo(first));
        Assert.That(Seen(whole), Is.EqualTo(expected));
        Assert.That(Seen(await ReadAsync(fixture.Engine.ResumeAsync("mine", null))), Is.EqualTo(expected), "it has ended, and can be read again for a while");
    }

    [Test]
    public async Task Resume_AfterTheWindow_ThereIsNoSuchStream()
    {
        await using EngineFixture fixture = new(s_settings);
        GenerateRequest request = Everything(1);
        await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true), atMost: 2);
        fixture.Time.Advance(TimeSpan.FromSeconds(61));
        RequestRejectedException? gone = await Assert.ThrowsAsync<RequestRejectedException>(async () => await ReadAsync(fixture.Engine.ResumeAsync(request.RequestId, null)));
        Assert.That(gone!.Reason, Is.EqualTo("STREAM_NOT_FOUND"));
        await fixture.RunAsync(request); // the name is free again
    }

    [Test]
    public async Task Resume_WindowZero_LeavingEndsTheRequest()
    {
        await using EngineFixture fixture = new(s_settings with { Engine = new EngineSettings { ResumeWindow = TimeSpan.Zero } });
        GenerateRequest request = Everything(1);
        await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true), atMost: 2);
        await Assert.ThatAsync(async () => await ReadAsync(fixture.Engine.ResumeAsync(request.RequestId, null)), Throws.TypeOf<RequestRejectedException>());
    }

    [Test]
    public async Task Resume_WhileAnotherReads_TheLaterOneGoesOn()
    {
        await using EngineFixture fixture = new(s_settings, new FakeWorkerGroup { Manual = true });
        GenerateRequest request = Text("prompt", maxTokens: 2);
        request.RequestId = "mine";
        Task<List<GenerationEvent>> first = ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true));
        await fixture.Group.StepBeganAsync();
        Task<List<GenerationEvent>> second = ReadAsync(fixture.Engine.ResumeAsync("mine", null));
        await Assert.ThatAsync(async () => await first, Throws.TypeOf<StreamTakenOverException>());
        fixture.Group.Manual = false;
        fixture.Group.Allow(9);
        Assert.That((await second)[^1], Is.TypeOf<FinishedEvent>());
    }

    [Test]
    public async Task Resume_MemoryIsShort_TheOldestEndedStreamsGoFirst()
    {
        await using EngineFixture fixture = new(s_settings with { Engine = new EngineSettings { ResumeBytes = 6000 } });
        for (int i = 0; i < 4; i++)
        {
            GenerateRequest request = Everything(1);
            request.RequestId = $"stream-{i}";
            await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(request), resumable: true));
        }
        await Assert.ThatAsync(async () => await ReadAsync(fixture.Engine.ResumeAsync("stream-0", null)), Throws.TypeOf<RequestRejectedException>());
        Assert.That(await ReadAsync(fixture.Engine.ResumeAsync("stream-3", null)), Is.Not.Empty);
    }

    [Test]
    public async Task Drain_SuspendedStreams_AreNotWaitedFor()
    {
        await using EngineFixture fixture = new(s_settings);
        await ReadAsync(fixture.Engine.GenerateAsync(fixture.Parser.Parse(Everything(2)), resumable: true), atMost: 2);
        Assert.That(await fixture.Engine.DrainAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(20)), Is.Zero);
    }

    [Test]
    public async Task CachedTokens_SecondTurn_AreToldTruly()
    {
        await using EngineFixture fixture = new(s_settings);
        Assert.That((await fixture.AnswerAsync(Text("one prompt of 20 chrs", maxTokens: 4))).Finished.Totals!.CachedTokens, Is.Zero);
        List<GenerationEvent> again = await fixture.RunAsync(Text("one prompt of 20 chrs", maxTokens: 4));
        Assert.That(again.OfType<StartedEvent>().Single().CachedTokens, Is.EqualTo(20), "five blocks of four; the last of 21 tokens is computed");
        Assert.That(again.OfType<FinishedEvent>().Single().Totals!.CachedTokens, Is.EqualTo(20));
        Assert.That(fixture.Engine.FlushCache(), Is.GreaterThan(4));
        Assert.That((await fixture.AnswerAsync(Text("one prompt of 20 chrs", maxTokens: 4))).Finished.Totals!.CachedTokens, Is.Zero);
    }
}
