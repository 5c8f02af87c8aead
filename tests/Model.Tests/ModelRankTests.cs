using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives.Local;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>One rank's steps: limits, and what a decode step costs in managed memory.</summary>
public sealed class ModelRankTests
{
    [Test]
    public void Run_BatchBeyondTheLimits_FailsAndNamesThem()
    {
        using Fixture fixture = new();
        StepBatch batch = new(16);
        batch.Clear(1);
        Assert.That(() => fixture.Rank.Run(batch), Throws.ArgumentException.With.Message.Contains("0 tokens is not within 1..64"));
        batch.AddSequence(new int[65], 0, Enumerable.Range(0, 5).ToArray());
        Assert.That(() => fixture.Rank.Run(batch), Throws.ArgumentException.With.Message.Contains("65 tokens is not within 1..64"));
        batch.Clear(2);
        batch.AddSequence([1], 128, Enumerable.Range(0, 9).ToArray());
        Assert.That(() => fixture.Rank.Run(batch), Throws.ArgumentException.With.Message.Contains("Position 128 is beyond the longest sequence of 128 tokens"));
    }

    [Test]
    public void Run_DecodeStepAfterWarmUp_AllocatesAlmostNothing()
    {
        using Fixture fixture = new();
        StepBatch batch = new(16);
        int[] history = new int[64], blocks = [3, 1, 2, 0];
        for (int position = 0; position < 8; position++)
            Step(position);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int position = 8; position < 24; position++)
            Step(position);
        long each = (GC.GetAllocatedBytesForCurrentThread() - before) / 16;
        Assert.That(each, Is.LessThan(1024), "bytes of one decode step");

        void Step(int position)
        {
            batch.Clear(position + 1);
            int row = batch.AddSequence(history.AsSpan(position, 1), position, blocks);
            batch.Samples.Add(new SampleRow(row, SamplingSettings.Greedy, history.AsMemory(0, position + 1), 1, -1));
            history[position + 1] = fixture.Rank.Run(batch).TokenIds[0];
        }
    }

    private sealed class Fixture : IDisposable
    {
        private readonly RandomCheckpoint _checkpoint = OddModels.Create("llama");
        private readonly CpuBackend _ops = new(threads: 1);
        private readonly SingleRank _comm;
        private readonly DenseTransformer _model;
        private readonly KvCache _cache;

        public Fixture()
        {
            ShardPlan plan = new(_checkpoint.Config, Partition.Even(_checkpoint.Config, 1), 0);
            _comm = new SingleRank(1, _ops);
            _model = WeightLoader.Load(_checkpoint, plan, _ops, _comm, new ModelLimits(MaxModelLength: 128, MaxStepTokens: 64));
            _cache = new KvCache(_checkpoint.Config, plan, ElementType.Float16, 16, 16, _ops);
            Rank = new ModelRank(_model, _cache, plan, _ops, _comm);
        }

        public ModelRank Rank { get; }

        public void Dispose()
        {
            _cache.Dispose();
            _model.Dispose();
            _comm.Dispose();
            _ops.Dispose();
            _checkpoint.Dispose();
        }
    }
}
