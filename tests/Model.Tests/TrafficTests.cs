using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.Local;
using TpServe.Kernels;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>What steps send between ranks, counted: only what is needed.</summary>
public sealed class TrafficTests
{
    private const int Degree = 2;
    private const int Prompt = 24;
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(60);

    [Test]
    public void Prefill_ChunkThatSamplesNothing_RunsNoHeadAndGathersNothing()
    {
        CollectiveMeter[] meters = Run("llama", sample: null);
        foreach (CollectiveMeter meter in meters)
            foreach (CollectivePurpose purpose in new[] { CollectivePurpose.Candidates, CollectivePurpose.Logits, CollectivePurpose.Choices, CollectivePurpose.Other })
                Assert.That(meter[purpose], Is.EqualTo(default(CollectiveCount)), purpose.ToString());
        Assert.That(meters[0][CollectivePurpose.Embedding].Calls, Is.EqualTo(1));
    }

    [Test]
    public void Embedding_OfAPrompt_RunsNoHeadAndGathersNothing()
    {
        foreach (CollectiveMeter meter in Run("llama", sample: null, pooling: Checkpoint.Config.Pooling.Mean))
            foreach (CollectivePurpose purpose in new[] { CollectivePurpose.Candidates, CollectivePurpose.Logits, CollectivePurpose.Choices, CollectivePurpose.Other })
                Assert.That(meter[purpose], Is.EqualTo(default(CollectiveCount)), purpose.ToString());
    }

    [Test]
    public void Sums_OfAStep_AreTwoABlockAndOneOfTheEmbedding()
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        (int hidden, int layers) = (checkpoint.Config.Hidden, checkpoint.Config.Layers);
        Partition partition = Partition.Even(checkpoint.Config, Degree);
        CollectiveMeter meter = Run("llama", sample: null)[0];
        Assert.That(meter[CollectivePurpose.Attention].Calls, Is.EqualTo(layers));
        Assert.That(meter[CollectivePurpose.Mlp].Calls, Is.EqualTo(layers));
        ShardPlan plan = new(checkpoint.Config, partition, 0);
        Assert.That(meter[CollectivePurpose.Mlp].Sent.Bytes, Is.EqualTo((long)layers * plan.MlpShare.Pieces * Prompt * hidden * sizeof(float)));
        Assert.That(meter[CollectivePurpose.Attention].Sent.Bytes, Is.EqualTo((long)layers * plan.HeadShare.Pieces * Prompt * hidden * sizeof(float)));
        Assert.That(meter[CollectivePurpose.Embedding].Sent.Bytes, Is.EqualTo((long)Prompt * hidden * sizeof(float)));
    }

    private static IEnumerable<TestCaseData> Samplings()
    {
        yield return new TestCaseData(SamplingSettings.Greedy, -1, 1).SetArgDisplayNames("greedy");
        yield return new TestCaseData(new SamplingSettings { Temperature = 1, TopK = 5, Seed = 1 }, -1, 5).SetArgDisplayNames("top-k");
        yield return new TestCaseData(new SamplingSettings { Temperature = 1, TopK = 40, TopP = 0.9f, Seed = 1 }, -1, 40).SetArgDisplayNames("top-k and top-p");
        yield return new TestCaseData(SamplingSettings.Greedy, 3, 0).SetArgDisplayNames("logprobs");
        yield return new TestCaseData(new SamplingSettings { Temperature = 1, Seed = 1 }, -1, 0).SetArgDisplayNames("whole distribution");
    }

    [TestCaseSource(nameof(Samplings))]
    public void Sample_WhatFollowsFromEachRanksBest_ShipsTheseAndNoLogits(SamplingSettings settings, int topLogprobs, int candidates)
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        int localVocab = new ShardPlan(checkpoint.Config, Partition.Even(checkpoint.Config, Degree), 1).LocalVocab;
        CollectiveMeter meter = Run("llama", settings, topLogprobs)[1];
        Assert.That(meter[CollectivePurpose.Candidates].Sent.Bytes, Is.EqualTo(2 * candidates * sizeof(float)));
        Assert.That(meter[CollectivePurpose.Logits].Sent.Bytes, Is.EqualTo(candidates > 0 ? 0 : localVocab * sizeof(float)));
        Assert.That(meter[CollectivePurpose.Choices].Calls, Is.EqualTo(1));
    }

    [Test]
    public void Sample_TopPAlone_ShipsEachRanksBestAndItsMass()
    {
        using ModelCheckpoint checkpoint = OddModels.Create("llama");
        NucleusLayout layout = new(Partition.Even(checkpoint.Config, Degree).VocabBoundaries);
        CollectiveMeter meter = Run("llama", new SamplingSettings { Temperature = 0.5f, TopP = 0.3f, Seed = 1 })[1];
        Assert.That(meter[CollectivePurpose.Candidates].Sent.Bytes, Is.EqualTo(layout.WordsOf(1) * sizeof(float)));
        Assert.That(meter[CollectivePurpose.Logits].Calls, Is.Zero);
        Assert.That(meter[CollectivePurpose.Choices].Calls, Is.EqualTo(1));
    }

    /// <summary>One step of a prompt on two ranks; what each counted.</summary>
    private static CollectiveMeter[] Run(string name, SamplingSettings? sample, int topLogprobs = -1, Checkpoint.Config.Pooling? pooling = null)
    {
        using ModelCheckpoint checkpoint = OddModels.Create(name);
        Partition partition = Partition.Even(checkpoint.Config, Degree);
        ICommunicator[] ends = LocalGroup.Create(Degree, s_timeout, epoch: 1);
        CollectiveMeter[] meters = new CollectiveMeter[Degree];
        int[] tokens = [.. Enumerable.Range(0, Prompt).Select(i => 1 + i * 7 % 60)];
        Task[] ranks = [.. ends.Select((end, rank) => Task.Factory.StartNew(() =>
        {
            using RelayCommunicator relay = new(rank, Degree);
            relay.Enter(end);
            ShardPlan plan = new(checkpoint.Config, partition, rank);
            using ITensorBackend ops = RankSetup.CpuDefault.Backend();
            using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, relay, RankSetup.CpuDefault.Limits);
            using KvCache cache = new(checkpoint.Config, plan, ElementType.Float16, 16, 4, ops);
            StepBatch batch = new(16);
            batch.Clear(1);
            int row = batch.AddSequence(tokens, 0, [2, 1]);
            if (sample is not null)
                batch.Samples.Add(new SampleRow(row + Prompt - 1, sample, tokens, Prompt, topLogprobs));
            PooledStates? states = pooling is { } way ? new PooledStates(way, Prompt) : null;
            if (states is not null)
                batch.Pooled.AddRange(Enumerable.Range(row, Prompt).Select(pooled => new PooledRow(pooled, states)));
            relay.Meter.Clear();
            new ModelRank(model, cache, plan, ops, relay).Run(batch);
            meters[rank] = relay.Meter;
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        Assert.That(Task.WaitAll(ranks, s_timeout), Is.True);
        return meters;
    }
}
