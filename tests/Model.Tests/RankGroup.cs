using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Weights;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Ranks as threads of this process, each with a backend of its own, all running the same jobs.</summary>
internal static class RankGroup
{
    /// <summary>Runs the jobs on a group of one.</summary>
    public static JobResult[] RunAlone(ModelCheckpoint checkpoint, RankSetup setup, IReadOnlyList<Job> jobs)
    {
        using SoloCommunicator comm = new();
        return RunRank(checkpoint, Partition.Even(checkpoint.Config, 1), setup, comm, jobs);
    }

    public static JobResult[] RunRank(ModelCheckpoint checkpoint, Partition partition, RankSetup setup, ICommunicator comm, IReadOnlyList<Job> jobs)
    {
        ShardPlan plan = new(checkpoint.Config, partition, comm.Rank);
        using ITensorBackend ops = setup.Backend();
        using DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, comm, setup.Limits);
        using KvCache cache = new(checkpoint.Config, plan, setup.KvType, setup.BlockTokens, setup.Blocks, ops);
        return StepDriver.Run(new ModelRank(model, cache, plan, ops, comm), jobs);
    }
}
