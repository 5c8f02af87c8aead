using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives.Ring;
using TpServe.Kernels.Cpu;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Worker.Tests;

/// <summary>Shares that move from rank to rank while the processes live: only what changes its owner is read, and every step has the bits it had.</summary>
public sealed class MovedShardTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly string _prefix = $"tpserve-test-{Environment.ProcessId}-{Guid.NewGuid():N}";

    private static readonly double[][] s_splits = [[1, 1], [1, 3], [3, 1], [0, 1], [1, 1]];

    [Test]
    public async Task Load_SharesMove_ReadsOnlyWhatChangedItsOwnerAndComputesTheSame([Values(false, true)] bool drafts)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        RankHost[] hosts = [NewHost(), NewHost()];
        Partition? before = null;
        List<string> outputs = [];
        for (int life = 0; life < s_splits.Length; life++)
        {
            Partition split = Partition.Weighted(checkpoint.Config, s_splits[life]);
            LoadReport[] reports = await Task.WhenAll(hosts.Select((host, rank) => LoadAsync(host, Request(life + 1, rank, split, drafts))));
            for (int rank = 0; rank < 2; rank++)
            {
                ShardPlan now = new(checkpoint.Config, split, rank);
                long expected = before is null ? Owned(checkpoint, now) : Owned(checkpoint, now) - Shared(checkpoint, new ShardPlan(checkpoint.Config, before, rank), now);
                if (before is null || now.LocalVocab > 0)
                    Assert.That(reports[rank].ReadBytes, Is.EqualTo(expected * (drafts ? 2 : 1)), $"life {life}, rank {rank}");
                Assert.That(reports[rank].Reused, Is.False);
            }
            before = split;
            outputs.Add(await StepsAsync(hosts, life + 1, guesses: drafts ? 2 : 0));
        }
        foreach (RankHost host in hosts)
            host.Dispose();
        Assert.That(outputs, Is.All.EqualTo(outputs[0]));
    }

    [Test]
    public async Task Load_OneRankLess_TakesOverWhatItHeld()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        using RankHost host = NewHost(), leaving = NewHost();
        Partition both = Partition.Even(checkpoint.Config, 2), alone = Partition.Even(checkpoint.Config, 1);
        await Task.WhenAll(LoadAsync(host, Request(1, 0, both, drafts: false)), LoadAsync(leaving, Request(1, 1, both, drafts: false)));
        LoadReport report = await LoadAsync(host, Request(2, 0, alone, drafts: false));
        ShardPlan half = new(checkpoint.Config, both, 0), whole = new(checkpoint.Config, alone, 0);
        Assert.That(report.ReadBytes, Is.EqualTo(Owned(checkpoint, whole) - Shared(checkpoint, half, whole)));
    }

    /// <summary>Bytes of the file that a rank's matrices and vectors come from.</summary>
    private static long Owned(ModelCheckpoint checkpoint, ShardPlan plan) =>
        Shared(checkpoint, plan, plan) + checkpoint.Tensors.Values.Where(tensor => RoleOf(tensor.Name) is null).Sum(tensor => tensor.ByteCount) - Vectors(checkpoint);

    /// <summary>Bytes that two shares have in common, vectors included.</summary>
    private static long Shared(ModelCheckpoint checkpoint, ShardPlan first, ShardPlan second) => Vectors(checkpoint) + checkpoint.Tensors.Values.Sum(tensor =>
    {
        if (RoleOf(tensor.Name) is not { } role)
            return 0;
        WeightSlice a = first.Slice(role), b = second.Slice(role);
        long rows = Math.Max(0, Math.Min(a.FirstRow + a.Rows, b.FirstRow + b.Rows) - Math.Max(a.FirstRow, b.FirstRow));
        long columns = Math.Max(0, Math.Min(a.FirstColumn + a.Columns, b.FirstColumn + b.Columns) - Math.Max(a.FirstColumn, b.FirstColumn));
        return rows * columns * tensor.ByteCount / ((long)tensor.Shape[0] * tensor.Shape[1]);
    });

    private static long Vectors(ModelCheckpoint checkpoint) => checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 1).Sum(tensor => tensor.ByteCount);

    private static WeightRole? RoleOf(string tensor) => tensor.Split('.')[^2] switch
    {
        "embed_tokens" => WeightRole.Embedding,
        "q_proj" => WeightRole.Query,
        "k_proj" => WeightRole.Key,
        "v_proj" => WeightRole.Value,
        "o_proj" => WeightRole.AttentionOutput,
        "gate_proj" => WeightRole.Gate,
        "up_proj" => WeightRole.Up,
        "down_proj" => WeightRole.Down,
        _ => null,
    };

    /// <summary>A prompt and four tokens after it, with their logprobs and the likeliest others.</summary>
    private static async Task<string> StepsAsync(RankHost[] hosts, long epoch, int guesses)
    {
        Func<StepPlan, Task<StepResult?>>[] runs = [.. hosts.Select(host => host.OpenLoop().Run)];
        List<string> results = [];
        for (int step = 1; step <= 5; step++)
        {
            StepPlan plan = new()
            {
                Epoch = epoch,
                Step = step,
                Sequences = { new SequenceStep { SequenceId = 1, StartPosition = step == 1 ? 0 : 4 + ((step - 2) * (1 + guesses)), Tokens = step == 1 ? 4 : 1, Sample = true, DraftTokens = step == 1 ? 0 : guesses } },
            };
            if (step == 1)
            {
                plan.Sequences[0].NewBlocks.Add(1);
                plan.NewSequences.Add(new NewSequence { SequenceId = 1, TokenIds = { 504, 3575, 282, 4649 }, TopLogprobs = 5, PromptLogprobs = -1, Drafts = guesses > 0, Sampling = new SamplingParameters { TopP = 1, RepetitionPenalty = 1, PromptTokens = 4 } });
            }
            StepResult?[] answers = await Task.WhenAll(runs.Select(run => run(plan))).WaitAsync(s_patience);
            results.Add(answers[0]!.Sequences.ToString());
        }
        return string.Join('\n', results);
    }

    private static RankHost NewHost() => new(new GroupSecret("a secret"), new RingMailboxes());

    private static Task<LoadReport> LoadAsync(RankHost host, LoadRequest request) => host.LoadAsync(request, _ => { }).WaitAsync(s_patience);

    private LoadRequest Request(long epoch, int rank, Partition split, bool drafts)
    {
        LoadRequest request = new()
        {
            Epoch = epoch,
            Rank = rank,
            Degree = split.Degree,
            ModelPath = TestData.SmolLm2,
            HeadBoundaries = { split.HeadBoundaries },
            LeafBoundaries = { split.LeafBoundaries },
            VocabBoundaries = { split.VocabBoundaries },
            Device = new ComputeDevice { Kind = DeviceKind.Cpu },
            Isa = DeviceBackends.Message(Isa.Detect()),
            Threads = 1,
            KvDtype = KvDtype.F16,
            ActivationDtype = ActivationDtype.Auto,
            BlockTokens = 16,
            KvBlocks = 8 + (int)epoch,
            MaxModelLen = 128,
            MaxStepTokens = 64,
            Transport = Transport.Shm,
            SegmentPrefix = $"{_prefix}-{epoch}-{drafts}",
            CollectiveTimeoutMs = 20_000,
            LoadTimeoutMs = 20_000,
        };
        if (drafts)
            request.Draft = new DraftModel
            {
                ModelPath = request.ModelPath,
                HeadBoundaries = { request.HeadBoundaries },
                LeafBoundaries = { request.LeafBoundaries },
                VocabBoundaries = { request.VocabBoundaries },
                MaxModelLen = request.MaxModelLen,
            };
        return request;
    }
}
