using System.Collections.Concurrent;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Model.Sampling;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Prompt logprobs, greedy tokens and seeded samples are equal to the bit whatever the degree, partition, chunks and batch.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class SameBitsTests
{
    private static readonly RankSetup Setup = RankSetup.CpuDefault;

    private static readonly Job Greedy = new() { Prompt = Prompt(37, seed: 1), NewTokens = 64, Chunk = 16 };

    private static readonly Job[] Jobs =
    [
        Greedy with { PromptTopLogprobs = 8 },
        new() { Prompt = Prompt(5, seed: 2), NewTokens = 24, TopLogprobs = 5, JoinsAt = 2 },
        new() { Prompt = Prompt(70, seed: 3), NewTokens = 24, Chunk = 32, JoinsAt = 1, Settings = new() { Temperature = 1.2f, TopK = 30, TopP = 0.95f, Seed = 7 } },
        new() { Prompt = Prompt(3, seed: 4), NewTokens = 24, JoinsAt = 4, Settings = new() { Temperature = 0.8f, MinP = 0.02f, Seed = 8, PresencePenalty = 0.5f } },
        new() { Prompt = Prompt(9, seed: 12), NewTokens = 24, JoinsAt = 3, Settings = new() { Temperature = 0.7f, TopP = 0.6f, Seed = 9 } },
        new() { Prompt = Prompt(6, seed: 13), NewTokens = 24, JoinsAt = 3, Settings = new() { Temperature = 1.8f, TopP = 0.99f, MinP = 0.001f, Seed = 10 } },
    ];

    private static IEnumerable<TestCaseData> Splits()
    {
        foreach (string model in OddModels.Names)
        {
            foreach (int degree in new[] { 2, 3, 4, 5 })
                yield return new TestCaseData(model, Enumerable.Repeat(1.0, degree).ToArray());
            yield return new TestCaseData(model, new[] { 1.0, 4.0, 2.0 });
        }
        // More ranks than heads and leaves; a rank that owns nothing.
        yield return new TestCaseData("llama", Enumerable.Repeat(1.0, 9).ToArray());
        yield return new TestCaseData("olmo2", Enumerable.Repeat(1.0, 11).ToArray());
        yield return new TestCaseData("llama-grouped", new[] { 1.0, 0.0, 1.0 });
    }

    [TestCaseSource(nameof(Splits))]
    public void Group_AnySplit_EqualsOneRank(string name, double[] weights)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        string[] alone = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));
        JobResult[][] ranks = RankGroup.Run(checkpoint, Partition.Weighted(checkpoint.Config, weights), Setup, Jobs);
        Assert.That(Texts(ranks[0]), Is.EqualTo(alone));
        for (int rank = 1; rank < ranks.Length; rank++)
            Assert.That(ranks[rank].Select(result => result.Tokens), Is.EqualTo(ranks[0].Select(result => result.Tokens)), $"rank {rank}");
    }

    [TestCase("llama", new[] { 1.0, 4.0, 2.0 })]
    [TestCase("llama-grouped", new[] { 1.0, 0.0, 1.0 })]
    [TestCase("olmo2", new[] { 1.0, 1.0 })]
    [TestCase("gemma2", new[] { 1.0, 1.0 })]
    [TestCase("llama", new[] { 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0 })]
    public void Group_SumsBesideTheNextBlock_EqualsOneRankAndCountsTheSameBytes(string name, double[] weights)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        string[] alone = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));
        ConcurrentBag<RelayCommunicator> relays = [];
        JobResult[][] ranks = RankGroup.Run(checkpoint, Partition.Weighted(checkpoint.Config, weights), Setup, Jobs, wrap: (comm, _) =>
        {
            RelayCommunicator relay = new(comm.Rank, comm.Degree) { OverlapRows = 8 };
            relay.Enter(comm);
            relays.Add(relay);
            return relay;
        });
        Assert.That(Texts(ranks[0]), Is.EqualTo(alone));
        foreach (RelayCommunicator relay in relays)
        {
            Assert.That(relay.Meter[CollectivePurpose.Mlp].Calls, Is.GreaterThan(relay.Meter[CollectivePurpose.Embedding].Calls * checkpoint.Config.Layers), "blocks have sums of their own");
            Assert.That(relay.Sent.Bytes, Is.EqualTo(Enum.GetValues<CollectivePurpose>().Sum(purpose => relay.Meter[purpose].Sent.Bytes)), "each byte is counted once");
            relay.Dispose();
        }
    }

    [Test]
    public void Group_LostWhileASumIsBesideTheNextBlock_EndsEveryRankAtOnce()
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        int sums = 0;
        Assert.That(() => RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, 3), Setup, Jobs, wrap: (comm, _) =>
        {
            RelayCommunicator relay = new(comm.Rank, comm.Degree) { OverlapRows = 8 };
            relay.Enter(comm);
            if (comm.Rank == 1)
                relay.Observer = new Breaks(() => Interlocked.Increment(ref sums) == 20);
            return relay;
        }), Throws.InvalidOperationException.With.Message.EqualTo("the rank breaks"));
    }

    /// <summary>Throws on the rank's thread after some operation.</summary>
    private sealed class Breaks(Func<bool> now) : IOperationObserver
    {
        public void Ran(string operation, int rows, int columns, long start, long end, TimeSpan waited)
        {
            if (now())
                throw new InvalidOperationException("the rank breaks");
        }
    }

    [Test]
    public void Group_SumsInRankOrder_DiffersFromOneRank()
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        string[] alone = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));

        // The middle rank owns parts of three subtrees: where every rank owned one, rank order could be the tree's.
        JobResult[][] ranks = RankGroup.Run(
            checkpoint, Partition.Weighted(checkpoint.Config, [1, 4, 2]), Setup, Jobs, wrap: (comm, ops) => new RankOrderSums(comm, ops));
        Assert.That(Texts(ranks[0]), Is.Not.EqualTo(alone));
    }

    [Test]
    public void Wire_SumsRoundedToBeSent_LeaveNoTraceOfBatchAndChunksAtOnePlan([Values(WireFormat.BFloat16, WireFormat.Q8)] WireFormat wire, [Values("llama", "olmo2")] string name)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        Partition partition = Partition.Weighted(checkpoint.Config, [1, 4, 2]);
        RankSetup rounds = Setup with { Wire = wire };
        JobResult[][] together = RankGroup.Run(checkpoint, partition, rounds, Jobs);
        Assert.That(Texts(together[0]), Is.Not.EqualTo(Texts(RankGroup.Run(checkpoint, partition, Setup, Jobs)[0])), "rounding shows");
        for (int rank = 1; rank < together.Length; rank++)
            Assert.That(together[rank].Select(result => result.Tokens), Is.EqualTo(together[0].Select(result => result.Tokens)), $"rank {rank}");
        for (int i = 0; i < Jobs.Length; i++)
            Assert.That(
                RankGroup.Run(checkpoint, partition, rounds, [Jobs[i] with { JoinsAt = 0, Chunk = 5 }])[0][0].ToString(), Is.EqualTo(together[0][i].ToString()), $"job {i} alone in chunks of 5");
    }

    [Test]
    public void Chunks_AnySize_SameBits([ValueSource(typeof(OddModels), nameof(OddModels.Names))] string name, [Values(1, 16, 64)] int chunk)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        Job whole = Greedy with { Prompt = Prompt(90, seed: 5), Chunk = 512, NewTokens = 8, TopLogprobs = 3, PromptTopLogprobs = 8 };
        JobResult[] expected = RankGroup.RunAlone(checkpoint, Setup, [whole]);
        Assert.That(Texts(RankGroup.RunAlone(checkpoint, Setup, [whole with { Chunk = chunk }])), Is.EqualTo(Texts(expected)));
    }

    [Test]
    public void BatchMates_AnyCompany_SameBits([ValueSource(typeof(OddModels), nameof(OddModels.Names))] string name)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        string[] together = Texts(RankGroup.RunAlone(checkpoint, Setup, Jobs));
        for (int i = 0; i < Jobs.Length; i++)
            Assert.That(RankGroup.RunAlone(checkpoint, Setup, [Jobs[i] with { JoinsAt = 0 }])[0].ToString(), Is.EqualTo(together[i]), $"job {i}");
    }

    [Test]
    public void Choice_WithOrWithoutLogprobs_SameTokens()
    {
        // Without logprobs candidates travel, with them whole rows.
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        Partition partition = Partition.Even(checkpoint.Config, 3);
        JobResult[] candidates = RankGroup.Run(checkpoint, partition, Setup, Jobs)[0];
        JobResult[] rows = RankGroup.Run(checkpoint, partition, Setup, [.. Jobs.Select(job => job with { TopLogprobs = 2 })])[0];
        Assert.That(rows.Select(result => result.Tokens), Is.EqualTo(candidates.Select(result => result.Tokens)));
    }

    [Test]
    public void SeededSample_TwiceAndWithAnotherSeed_SameThenDifferent()
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        Job sampled = Greedy with { Settings = new SamplingSettings { Temperature = 1, Seed = 11 } };
        List<int> first = RankGroup.RunAlone(checkpoint, Setup, [sampled])[0].Tokens;
        Assert.Multiple(() =>
        {
            Assert.That(RankGroup.RunAlone(checkpoint, Setup, [sampled])[0].Tokens, Is.EqualTo(first));
            Assert.That(RankGroup.RunAlone(checkpoint, Setup, [sampled with { Settings = sampled.Settings with { Seed = 12 } }])[0].Tokens, Is.Not.EqualTo(first));
        });
    }

    private static string[] Texts(JobResult[] results) => [.. results.Select(result => result.ToString())];

    private static int[] Prompt(int length, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(389))];
    }
}
