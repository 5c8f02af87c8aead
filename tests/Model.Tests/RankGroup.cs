using System.Runtime.ExceptionServices;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Adapters;
using TpServe.Collectives;
using TpServe.Collectives.Local;
using TpServe.Kernels;
using TpServe.Model.Adapters;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Ranks as threads of this process, each with a backend of its own, all running the same jobs.</summary>
internal static class RankGroup
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    /// <summary>Runs the jobs on a group of one.</summary>
    public static JobResult[] RunAlone(ModelCheckpoint checkpoint, RankSetup setup, IReadOnlyList<Job> jobs) =>
        Run(checkpoint, Partition.Even(checkpoint.Config, 1), setup, jobs)[0];

    /// <summary>Runs the jobs on every rank of a partition; results by rank.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="partition">Who owns what.</param>
    /// <param name="setup">Device and cache of each rank.</param>
    /// <param name="jobs">What to run.</param>
    /// <param name="wrap">Puts something between a rank and its group; null = nothing.</param>
    public static JobResult[][] Run(
        ModelCheckpoint checkpoint, Partition partition, RankSetup setup, IReadOnlyList<Job> jobs, Func<ICommunicator, ITensorBackend, ICommunicator>? wrap = null)
    {
        ICommunicator[] ends = LocalGroup.Create(partition.Degree, Timeout, epoch: 1, setup.Wire);
        JobResult[][] results = new JobResult[ends.Length][];
        Exception? fault = null;
        Thread[] threads = [.. ends.Select((end, rank) => new Thread(() =>
        {
            try
            {
                results[rank] = RunRank(checkpoint, partition, setup, end, jobs, wrap);
            }
            catch (Exception exception)
            {
                if (exception is not RevokedException) // those die of another rank's fault, which is the one to show
                    Interlocked.CompareExchange(ref fault, exception, null);
                end.Revoke(exception.Message);
            }
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        foreach (ICommunicator end in ends)
            end.Dispose();
        if (fault is not null)
            ExceptionDispatchInfo.Throw(fault);
        return results;
    }

    private static JobResult[] RunRank(
        ModelCheckpoint checkpoint, Partition partition, RankSetup setup, ICommunicator end, IReadOnlyList<Job> jobs,
        Func<ICommunicator, ITensorBackend, ICommunicator>? wrap)
    {
        ShardPlan plan = new(checkpoint.Config, partition, end.Rank);
        using ITensorBackend ops = setup.Backend();
        ICommunicator comm = wrap?.Invoke(end, ops) ?? end;
        using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, comm, setup.Limits);
        using KvCache cache = new(checkpoint.Config, plan, setup.KvType, setup.BlockTokens, setup.Blocks, ops);
        if (setup.StaleNaN)
            FillWithNaN(cache, checkpoint.Config.Layers, ops);
        Dictionary<string, LoraAdapter> adapters = [];
        try
        {
            foreach (string folder in jobs.Select(job => job.Lora).OfType<string>().Distinct())
            {
                using AdapterCheckpoint adapter = AdapterCheckpoint.Open(folder);
                adapters.Add(folder, LoraLoader.Load(adapter, checkpoint.Config, plan, ops));
            }
            return StepDriver.Run(new ModelRank(model, cache, plan, ops, comm), jobs, adapters);
        }
        finally
        {
            foreach (LoraAdapter adapter in adapters.Values)
                adapter.Dispose();
        }
    }

    private static void FillWithNaN(KvCache cache, int layers, ITensorBackend ops)
    {
        for (int layer = 0; layer < layers && cache.Layer(layer) is { } slots; layer++)
        {
            foreach (Tensor tensor in new[] { slots.Keys, slots.Values })
            {
                byte[] ones = new byte[(long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes()];
                Array.Fill(ones, (byte)0xFF); // a NaN in every floating type
                ops.Upload<byte>(ones, tensor);
            }
        }
    }
}
