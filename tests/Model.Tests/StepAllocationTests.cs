using System.Runtime.ExceptionServices;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Collectives.Local;
using TpServe.Collectives.SharedMemory;
using TpServe.Kernels;
using TpServe.Kernels.Cpu;
using TpServe.Model.Sampling;
using TpServe.Model.Weights;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>A decode step leaves nothing to collect on the rank's thread.</summary>
public sealed class StepAllocationTests
{
    private const int Prompt = 20, Warm = 48, Measured = 40;

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(60);

    private static readonly SamplingSettings[] s_settings =
    [
        SamplingSettings.Greedy,
        new() { Temperature = 0.8f, TopP = 0.9f, Seed = 7 },
        new() { Temperature = 0.8f, TopK = 40, MinP = 0.05f, Seed = 8 },
        new() { Temperature = 1f, LogitBias = [KeyValuePair.Create(7, -2f), KeyValuePair.Create(9, 1f)], Seed = 9 }, // penalties count a history that grows
    ];

    [Test]
    public void Run_DecodeStepAfterWarmUp_AllocatesNothing([Values(1, 2)] int degree, [Values(1, 4)] int sequences)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        Partition partition = Partition.Even(checkpoint.Config, degree);
        string prefix = $"tpserve-test-{Environment.ProcessId}-{Guid.NewGuid():N}";
        long[][] allocated = new long[degree][];
        Exception? fault = null;
        Thread[] ranks = [.. Enumerable.Range(0, degree).Select(rank => new Thread(() =>
        {
            try
            {
                using CpuBackend ops = new(threads: 1);
                using ICommunicator group = degree == 1 ? new SingleRank(1, ops) : SharedMemoryCommunicator.Join(prefix, rank, degree, s_timeout, epoch: 1);
                allocated[rank] = Decode(checkpoint, new ShardPlan(checkpoint.Config, partition, rank), ops, group, sequences);
            }
            catch (Exception exception)
            {
                Interlocked.CompareExchange(ref fault, exception, null);
            }
        }))];
        foreach (Thread rank in ranks)
            rank.Start();
        foreach (Thread rank in ranks)
            Assert.That(rank.Join(s_timeout), "a rank does not end");
        if (fault is not null)
            ExceptionDispatchInfo.Throw(fault);
        Assert.That(allocated, Is.All.All.Zero, "bytes of each step");
    }

    /// <summary>Bytes that the thread allocated in each of the measured steps.</summary>
    private static long[] Decode(ModelCheckpoint checkpoint, ShardPlan plan, CpuBackend ops, ICommunicator group, int sequences)
    {
        using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, group, new ModelLimits(256, 256));
        using KvCache cache = new(checkpoint.Config, plan, ElementType.Float16, blockTokens: 16, blocks: 16 * sequences, ops);
        ModelRank rank = new(model, cache, plan, ops, group);
        StepBatch batch = new(16);
        int[][] tokens = [.. Enumerable.Range(0, sequences).Select(sequence => Enumerable.Range(0, Prompt + Warm + Measured + 1).Select(i => 100 + sequence + i).ToArray())];
        int[][] blocks = [.. Enumerable.Range(0, sequences).Select(sequence => Enumerable.Range(16 * sequence, 16).ToArray())];
        long[] allocated = new long[Measured];
        for (int step = 0; step < Warm + Measured; step++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            int start = step == 0 ? 0 : Prompt + step - 1, known = Prompt + step;
            batch.Clear(step + 1);
            for (int sequence = 0; sequence < sequences; sequence++)
            {
                int first = batch.AddSequence(tokens[sequence].AsSpan(start, known - start), start, blocks[sequence]);
                batch.Samples.Add(new SampleRow(first + known - start - 1, s_settings[sequence], tokens[sequence].AsMemory(0, known), Prompt, -1));
            }
            StepOutput output = rank.Run(batch);
            for (int sequence = 0; sequence < sequences; sequence++)
                tokens[sequence][known] = output.TokenIds[sequence];
            if (step >= Warm)
                allocated[step - Warm] = GC.GetAllocatedBytesForCurrentThread() - before;
        }
        return allocated;
    }
}
