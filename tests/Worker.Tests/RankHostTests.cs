using System.Diagnostics;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.Ring;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Worker.Tests;

/// <summary>Loads, losses and loads again of one rank and of two in one process.</summary>
public sealed class RankHostTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly string _prefix = $"tpserve-test-{Environment.ProcessId}-{Guid.NewGuid():N}";

    private static RankHost NewHost() => new(new GroupSecret("a secret"), new RingMailboxes());

    [Test]
    public async Task Load_SameShardOfTheNextEpoch_KeepsItAndRunsTheSameStepsAgain()
    {
        using RankHost host = NewHost();
        LoadReport first = await LoadAsync(host, Request(epoch: 1, rank: 0, degree: 1));
        StepResult before = await StepAsync(host, epoch: 1);
        host.Revoke(1, "a peer died");
        await Assert.ThrowsAsync<RevokedException>(() => StepAsync(host, epoch: 1));

        LoadReport second = await LoadAsync(host, Request(epoch: 2, rank: 0, degree: 1));
        StepResult after = await StepAsync(host, epoch: 2);
        Assert.That((first.Reused, second.Reused), Is.EqualTo((false, true)));
        Assert.That(second.WeightBytes, Is.EqualTo(first.WeightBytes).And.Positive);
        Assert.That(after.Sequences, Is.EqualTo(before.Sequences));

        LoadRequest larger = Request(epoch: 3, rank: 0, degree: 1);
        larger.KvBlocks++;
        Assert.That((await LoadAsync(host, larger)).Reused, Is.False, "another cache is another shard");
    }

    [Test]
    public async Task Load_WithADraftModel_GuessesTheModelsOwnTokensAndIsAnotherShard([Values(1, 2)] int degree)
    {
        RankHost[] hosts = [.. Enumerable.Range(0, degree).Select(_ => NewHost())];
        LoadReport[] plain = await Task.WhenAll(hosts.Select((host, rank) => LoadAsync(host, Request(1, rank, degree))));
        List<int> one = [.. (await Task.WhenAll(hosts.Select(host => TokensAsync(host, 1, guesses: 0))))[0]];

        // The model is its own draft: every guess of it is right.
        LoadReport[] drafted = await Task.WhenAll(hosts.Select((host, rank) => LoadAsync(host, WithDraft(Request(2, rank, degree)))));
        List<int> several = [.. (await Task.WhenAll(hosts.Select(host => TokensAsync(host, 2, guesses: 3))))[0]];
        Assert.That(several, Is.EqualTo(one));
        Assert.That(drafted.Select(report => report.Reused), Is.All.False);
        Assert.That(drafted.Zip(plain, (with, without) => (with.WeightBytes - 2 * without.WeightBytes, with.KvBytes - 2 * without.KvBytes)), Is.All.EqualTo((0L, 0L)));
        Assert.That((await Task.WhenAll(hosts.Select((host, rank) => LoadAsync(host, WithDraft(Request(3, rank, degree)))))).Select(report => report.Reused), Is.All.True);
        foreach (RankHost host in hosts)
            host.Dispose();

        static LoadRequest WithDraft(LoadRequest request)
        {
            request.Draft = new DraftModel
            {
                ModelPath = request.ModelPath,
                HeadBoundaries = { request.HeadBoundaries },
                LeafBoundaries = { request.LeafBoundaries },
                VocabBoundaries = { request.VocabBoundaries },
                MaxModelLen = request.MaxModelLen,
            };
            request.WarmUp = true;
            return request;
        }

        // A prompt of four tokens and eight more, greedy; those that are guessed come four at a time.
        static async Task<List<int>> TokensAsync(RankHost host, long epoch, int guesses)
        {
            Func<StepPlan, Task<StepResult>> run = Answered(host);
            StepPlan plan = Plan(epoch, 1);
            plan.NewSequences[0].Drafts = guesses > 0;
            plan.NewSequences[0].TopLogprobs = -1;
            List<int> tokens = [.. (await run(plan).WaitAsync(s_patience)).Sequences.SelectMany(sequence => sequence.TokenIds)];
            for (int step = 2, start = 4; start < 12; start += 1 + guesses, step++)
            {
                StepResult result = await run(new StepPlan { Epoch = epoch, Step = step, Sequences = { new SequenceStep { SequenceId = 1, StartPosition = start, Tokens = 1, Sample = true, DraftTokens = guesses } } }).WaitAsync(s_patience);
                tokens.AddRange(result.Sequences.SelectMany(sequence => sequence.TokenIds));
                Assert.That((result.DraftMicroseconds > 0, result.DraftRows), Is.EqualTo(guesses == 0 ? (false, 0) : (true, step == 2 ? 3 : 4)));
            }
            return tokens;
        }
    }

    [Test]
    public async Task Load_PeerDiedAndWasReplaced_TheSurvivorKeepsItsShardAndBothGoOn()
    {
        using RankHost survivor = NewHost();
        RankHost dying = NewHost();
        await Task.WhenAll(LoadAsync(survivor, Request(1, 0, 2)), LoadAsync(dying, Request(1, 1, 2)));
        StepResult[] before = await Task.WhenAll(StepAsync(survivor, 1), StepAsync(dying, 1));

        // The survivor waits for its peer in a step; the revocation wakes it long before the collective's timeout.
        Task<StepResult> waiting = StepAsync(survivor, 1, s_patience);
        dying.Dispose();
        survivor.Revoke(1, "rank 1 died");
        await Assert.ThatAsync(() => waiting, Throws.InstanceOf<GroupLostException>());

        using RankHost replacing = NewHost();
        LoadReport[] reports = await Task.WhenAll(LoadAsync(survivor, Request(2, 0, 2)), LoadAsync(replacing, Request(2, 1, 2)));
        Assert.That(reports.Select(report => report.Reused), Is.EqualTo(new[] { true, false }));
        StepResult[] after = await Task.WhenAll(StepAsync(survivor, 2), StepAsync(replacing, 2));
        Assert.That(after[0].Sequences, Is.EqualTo(before[0].Sequences));
    }

    [Test]
    public async Task Load_WarmedUp_RunsTheSameStepsOnEveryRank([Values(1, 2)] int degree, [Values(1, 2, 40)] int blocks)
    {
        string[] results = [await FirstStepAsync(warmUp: false), await FirstStepAsync(warmUp: true)];
        Assert.That(results[1], Is.EqualTo(results[0]));

        async Task<string> FirstStepAsync(bool warmUp)
        {
            RankHost[] hosts = [.. Enumerable.Range(0, degree).Select(_ => NewHost())];
            LoadRequest[] requests = [.. hosts.Select((_, rank) => Request(warmUp ? 2 : 1, rank, degree))];
            foreach (LoadRequest request in requests)
                (request.WarmUp, request.KvBlocks) = (warmUp, blocks);
            await Task.WhenAll(hosts.Zip(requests, (host, request) => LoadAsync(host, request)));
            StepPlan plan = Plan(warmUp ? 2 : 1, 1);
            plan.Sequences[0].NewBlocks[0] = 0; // what the first steps have written
            StepResult[] steps = await Task.WhenAll(hosts.Select(host => Answered(host)(plan).WaitAsync(s_patience)));
            foreach (RankHost host in hosts)
                host.Dispose();
            return string.Join("; ", steps.Select(step => step.Sequences));
        }
    }

    [Test]
    public async Task Load_PeerNeverComes_EndsWithTheRevocationAndTheNextLoadWorks()
    {
        using RankHost host = NewHost();
        TaskCompletionSource joining = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<LoadReport> load = host.LoadAsync(Request(1, 0, 2), step =>
        {
            if (step.Stage == "joining group")
                joining.TrySetResult();
        });
        await joining.Task.WaitAsync(s_patience);
        host.Revoke(1, "rank 1 died while it started");
        RevokedException? fault = await Assert.ThrowsAsync<RevokedException>(() => load.WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.That(fault!.Message, Does.Contain("rank 1 died while it started"));
        await Assert.ThrowsAsync<PlanMismatchException>(() => StepAsync(host, 1));
        Assert.That((await LoadAsync(host, Request(2, 0, 1))).Reused, Is.False);
    }

    [Test]
    public async Task Load_GroupFallsApartWhilePacking_TheShardServesTheNextEpoch()
    {
        using RankHost host = NewHost(), peer = NewHost();
        TaskCompletionSource packing = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using ManualResetEventSlim goOn = new();
        Task<LoadReport> load = host.LoadAsync(Request(1, 0, 2), step =>
        {
            if (step.Stage != "packing")
                return;
            packing.TrySetResult();
            goOn.Wait(s_patience);
        });
        Task<LoadReport> peers = peer.LoadAsync(Request(1, 1, 2), _ => { });
        await packing.Task.WaitAsync(s_patience);
        host.Revoke(1, "rank 1 died");
        goOn.Set();
        await Assert.ThatAsync(() => load.WaitAsync(s_patience), Throws.InstanceOf<GroupLostException>());
        await Assert.ThatAsync(() => peers.WaitAsync(s_patience), Throws.InstanceOf<GroupLostException>());
        LoadReport[] next = await Task.WhenAll(LoadAsync(host, Request(2, 0, 2)), LoadAsync(peer, Request(2, 1, 2)));
        Assert.That(next.Select(report => report.Reused), Is.All.True);
    }

    [Test]
    public async Task Load_AnotherShardWhileOneIsPacked_StopsThePackingAtOnce()
    {
        using RankHost host = NewHost();
        TaskCompletionSource packing = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using ManualResetEventSlim goOn = new();
        int steps = 0;
        Task<LoadReport> useless = host.LoadAsync(Request(1, 0, 1), step =>
        {
            if (step.Stage != "packing")
                return;
            steps++;
            packing.TrySetResult();
            goOn.Wait(s_patience);
        });
        await packing.Task.WaitAsync(s_patience);
        LoadRequest other = Request(2, 0, 1);
        other.KvBlocks = 3;
        Task<LoadReport> wanted = host.LoadAsync(other, _ => { });
        goOn.Set();
        await Assert.ThatAsync(() => useless.WaitAsync(s_patience), Throws.InstanceOf<RevokedException>());
        Assert.That(steps, Is.EqualTo(1));
        Assert.That((await wanted.WaitAsync(s_patience)).Reused, Is.False);
    }

    [Test]
    public async Task Load_FilesAreNotTheGateways_IsRefusedWithBothIdentities()
    {
        using RankHost host = NewHost();
        LoadRequest request = Request(1, 0, 1);
        request.ModelIdentity = "model.gguf of another size";
        ModelLoadException? fault = await Assert.ThrowsAsync<ModelLoadException>(() => LoadAsync(host, request));
        Assert.That(fault!.Message, Does.Contain(request.ModelIdentity).And.Contain(ModelIdentity.Of(TestData.SmolLm2).Content));
    }

    [Test]
    public async Task Load_RoundedSumsOverCudaIpc_IsRefusedByName()
    {
        using RankHost host = NewHost();
        LoadRequest request = Request(1, 0, 2);
        (request.Transport, request.Wire) = (Transport.CudaIpc, Wire.Q8);
        ModelLoadException? fault = await Assert.ThrowsAsync<ModelLoadException>(() => LoadAsync(host, request));
        Assert.That(fault!.Message, Does.Contain("not sent as Q8 over cuda-ipc"));
    }

    [Test]
    public async Task Step_Idle_IsWhatPassedSinceTheStepBefore()
    {
        using RankHost host = NewHost();
        await LoadAsync(host, Request(1, 0, 1));
        Func<StepPlan, Task<StepResult>> run = Answered(host);
        long begun = Stopwatch.GetTimestamp();
        StepResult first = await run(Plan(1, 1));
        long ended = Stopwatch.GetTimestamp();
        using ManualResetEventSlim never = new();
        never.Wait(TimeSpan.FromMilliseconds(50));
        TimeSpan waited = Stopwatch.GetElapsedTime(ended);
        StepResult second = await run(new StepPlan { Epoch = 1, Step = 2, Sequences = { new SequenceStep { SequenceId = 1, StartPosition = 4, Tokens = 1, Sample = true } } });
        TimeSpan whole = Stopwatch.GetElapsedTime(begun);
        Assert.That((first.IdleMicroseconds, second.IdleMicroseconds), Is.EqualTo((0, second.IdleMicroseconds)));
        Assert.That(second.IdleMicroseconds, Is.InRange((int)waited.TotalMicroseconds, (int)whole.TotalMicroseconds));
    }

    [Test]
    public async Task Measure_NothingLoaded_TimesEveryShapeAndWay()
    {
        RankHost[] hosts = [NewHost(), NewHost()];
        MeasureRequest request = new()
        {
            Device = new ComputeDevice { Kind = DeviceKind.Cpu },
            Isa = InstructionSet.Scalar,
            Threads = 1,
            KvDtype = KvDtype.F16,
            BlockTokens = 16,
            Hidden = 64,
            Heads = 4,
            KvHeads = 2,
            HeadDim = 32,
            Products = { new ProductShape { Format = (int)WeightFormat.Q8_0, Outputs = 64, Inputs = 64 }, new ProductShape { Format = (int)WeightFormat.F32, Outputs = 32, Inputs = 64 } },
        };
        MeasureReply reply = await hosts[0].MeasureAsync(request).WaitAsync(TimeSpan.FromMinutes(2));
        Assert.That(reply.Products.Select(times => times.Format), Is.EqualTo(new[] { (int)WeightFormat.Q8_0, (int)WeightFormat.F32 }));
        Assert.That(reply.Products.Select(times => string.Join(',', times.Points.Select(point => point.Rows))), Is.EqualTo(new[] { "1,8,32,256", "1,32,256" }), "fewer of a format that less is stored in");
        double[] figures =
        [
            .. reply.Products.SelectMany(times => times.Points).Select(point => point.SecondsPerByte), reply.DecodeAttentionSecondsPerByte, reply.PrefillAttentionSecondsPerElement,
            reply.ElementwiseSecondsPerFloat, reply.OperationSeconds, reply.Seconds,
        ];
        Assert.That(figures, Is.All.GreaterThan(0).And.All.LessThan(60));
        Assert.That(reply.Products.Select(times => times.Points[^1].SecondsPerByte / times.Points[0].SecondsPerByte), Is.All.GreaterThan(10), "256 rows take longer than one");

        string prefix = $"tpserve-test-{Guid.NewGuid():N}";
        MeasureLinkReply[] ways = await Task.WhenAll(hosts.Select((host, rank) => host.MeasureLinkAsync(new MeasureLinkRequest
        {
            Epoch = 1,
            Rank = rank,
            Transport = Transport.Shm,
            SegmentPrefix = prefix,
            TimeoutMs = 20_000,
        }))).WaitAsync(s_patience);
        Assert.That(ways.SelectMany(way => new[] { way.LatencySeconds, way.SmallBytesPerSecond, way.LargeBytesPerSecond }), Is.All.GreaterThan(0));
        foreach (RankHost host in hosts)
            host.Dispose();
    }

    [Test]
    public async Task Measure_WhileAShardIsLoaded_IsRefused()
    {
        using RankHost host = NewHost();
        await LoadAsync(host, Request(1, 0, 1));
        Assert.That(() => host.MeasureAsync(new MeasureRequest { Device = new ComputeDevice { Kind = DeviceKind.Cpu } }), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("loaded"));
        Assert.That((await StepAsync(host, 1)).Step, Is.EqualTo(1));
    }

    [Test]
    public async Task Step_ThatOnlyRank0Answers_IsToldWithTheNextAnswer()
    {
        RankHost[] hosts = [NewHost(), NewHost()];
        await Task.WhenAll(hosts.Select((host, rank) => LoadAsync(host, Request(1, rank, 2))));
        Func<StepPlan, Task<StepResult?>>[] runs = [.. hosts.Select(host => host.OpenLoop().Run)];
        List<StepResult?[]> steps = [];
        for (int step = 1; step <= 4; step++)
        {
            StepPlan plan = step == 1 ? Plan(1, 1) : new StepPlan { Epoch = 1, Step = step, Sequences = { new SequenceStep { SequenceId = 1, StartPosition = 2 + step, Tokens = 1, Sample = true } } };
            plan.AllAnswer = step == 3;
            steps.Add(await Task.WhenAll(runs.Select(run => run(plan))).WaitAsync(s_patience));
        }
        foreach (RankHost host in hosts)
            host.Dispose();
        Assert.That(steps.Select(step => step[0]?.Step), Is.EqualTo(new long?[] { 1, 2, 3, 4 }));
        Assert.That(steps.Select(step => step[0]?.Unanswered), Is.All.Null, "rank 0 owes nothing");
        Assert.That(steps.Select(step => step[1]?.Step), Is.EqualTo(new long?[] { null, null, 3, null }));
        Assert.That(steps[2][1]!.Unanswered.Steps, Is.EqualTo(2));
        Assert.That(steps[2][1]!.Unanswered.ComputeMicroseconds, Is.Positive);
    }

    [Test]
    public async Task Step_AfterOneThatFailed_IsRefused()
    {
        using RankHost host = NewHost();
        await LoadAsync(host, Request(1, 0, 1));
        Func<StepPlan, Task<StepResult>> run = Answered(host);
        Task<StepResult> wrong = run(Plan(epoch: 9, step: 1)), next = run(Plan(epoch: 1, step: 2));
        await Assert.ThrowsAsync<PlanMismatchException>(() => wrong);
        PlanMismatchException? refused = await Assert.ThrowsAsync<PlanMismatchException>(() => next);
        Assert.That(refused!.Message, Does.Contain("failed"));
        Assert.That((await StepAsync(host, 1)).Step, Is.EqualTo(1), "another stream begins anew");
    }

    private LoadRequest Request(long epoch, int rank, int degree)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        Partition partition = Partition.Even(checkpoint.Config, degree);
        return new LoadRequest
        {
            Epoch = epoch,
            Rank = rank,
            Degree = degree,
            ModelPath = TestData.SmolLm2,
            HeadBoundaries = { partition.HeadBoundaries },
            LeafBoundaries = { partition.LeafBoundaries },
            VocabBoundaries = { partition.VocabBoundaries },
            Device = new ComputeDevice { Kind = DeviceKind.Cpu },
            Isa = DeviceBackends.Message(Isa.Detect()),
            Threads = 1,
            KvDtype = KvDtype.F16,
            ActivationDtype = ActivationDtype.Auto,
            BlockTokens = 16,
            KvBlocks = 2,
            MaxModelLen = 32,
            MaxStepTokens = 16,
            Transport = Transport.Shm,
            SegmentPrefix = $"{_prefix}-{epoch}",
            CollectiveTimeoutMs = 20_000,
            LoadTimeoutMs = 60_000,
        };
    }

    private static Task<LoadReport> LoadAsync(RankHost host, LoadRequest request) => host.LoadAsync(request, _ => { }).WaitAsync(s_patience);

    private static StepPlan Plan(long epoch, long step) => new()
    {
        Epoch = epoch,
        Step = step,
        NewSequences =
        {
            new NewSequence { SequenceId = 1, TokenIds = { 1, 2, 3, 4 }, Sampling = new SamplingParameters { PromptTokens = 4, TopP = 1, RepetitionPenalty = 1 }, TopLogprobs = 3, PromptLogprobs = -1 },
        },
        Sequences = { new SequenceStep { SequenceId = 1, Tokens = 4, NewBlocks = { 1 }, Sample = true } },
    };

    private static Task<StepResult> StepAsync(RankHost host, long epoch, TimeSpan? patience = null) => Answered(host)(Plan(epoch, 1)).WaitAsync(patience ?? s_patience);

    /// <summary>A step loop whose every step is answered.</summary>
    private static Func<StepPlan, Task<StepResult>> Answered(RankHost host)
    {
        Func<StepPlan, Task<StepResult?>> run = host.OpenLoop().Run;
        return async plan =>
        {
            plan.AllAnswer = true;
            return (await run(plan))!;
        };
    }
}
