using TpServe.Checkpoint;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>A plan for devices that need not be here, with all that its reports say.</summary>
/// <param name="Checkpoint">The model.</param>
/// <param name="Costs">Its weights, unit by unit.</param>
/// <param name="Devices">What it was planned for.</param>
/// <param name="Workload">What it is to be good at.</param>
/// <param name="KvDtype">Type of the KV cache.</param>
/// <param name="GpuMemory">Share of a GPU's memory that may be used.</param>
/// <param name="Result">The plan.</param>
internal sealed record PredictedPlan(
    ModelCheckpoint Checkpoint, ModelCosts Costs, PlannedDevices Devices, Workload Workload, Protos.Worker.KvDtype KvDtype, double GpuMemory, PlanResult Result)
{
    /// <summary>Plans.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="options">Checked settings: type of the KV cache, share of a GPU's memory, --tp where it is given.</param>
    /// <param name="file">The file of devices.</param>
    /// <param name="workload">What the plan is to be good at.</param>
    /// <exception cref="DeviceFileException">The file cannot be used.</exception>
    /// <exception cref="ShardingException">The model has no room, or the settings do not fit the devices.</exception>
    public static PredictedPlan Create(ModelCheckpoint checkpoint, GatewayOptions options, string file, Workload workload)
    {
        TensorType[] formats = [.. checkpoint.Tensors.Values.Where(tensor => tensor.Shape.Count == 2).Select(tensor => tensor.Type).Distinct().Order()];
        return Create(checkpoint, options, DeviceFile.Read(file, options.GpuMemoryUtilization, formats), file, workload);
    }

    /// <summary>The same for devices that are known already.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="devices">The devices.</param>
    /// <param name="file">What they come from, for messages.</param>
    /// <param name="workload">What the plan is to be good at.</param>
    /// <exception cref="ShardingException">The model has no room, or the settings do not fit the devices.</exception>
    public static PredictedPlan Create(ModelCheckpoint checkpoint, GatewayOptions options, PlannedDevices devices, string file, Workload workload)
    {
        ModelCosts costs = ModelCosts.Of(
            checkpoint.Config, checkpoint.Tensors.Values, GroupProfile.KvHeadBytes(checkpoint, options), devices.AreGpus ? Workers.GpuMemory.TensorBytes : null);
        PlanLimits limits = new();
        if (options.Tp is { } degree)
        {
            if (degree > devices.Profiles.Count)
                throw new ShardingException($"--tp {degree}: {file} has {devices.Profiles.Count} devices.");
            limits = limits with { MinDegree = degree, MaxDegree = degree };
        }
        if (workload.ContextTokens > checkpoint.Config.MaxPositions)
            throw new ShardingException($"a context of {workload.ContextTokens} tokens is more than the model's own {checkpoint.Config.MaxPositions} positions.");
        return new PredictedPlan(checkpoint, costs, devices, workload, options.KvDtype, options.GpuMemoryUtilization, Planner.Plan(costs, devices.Profiles, devices.Links, workload, limits));
    }

    /// <summary>What each rank of a plan owns.</summary>
    public IReadOnlyList<ShardPlan> Shards(RankedPlan plan) => [.. Enumerable.Range(0, plan.Degree).Select(rank => new ShardPlan(Checkpoint.Config, plan.Partition, rank))];

    /// <summary>Weights for --partition that come nearest to a plan, and what they are predicted to cost beside it, as a share; no weights = the even split.</summary>
    /// <remarks>--partition has one weight a rank for heads, leaves and vocabulary alike; a plan may split each of them in another proportion.</remarks>
    public (IReadOnlyList<double> Weights, Partition Partition, double Excess) NearestWeights(RankedPlan plan)
    {
        IReadOnlyList<ShardPlan> shards = Shards(plan);
        List<double[]> candidates = [[.. shards.Select(_ => 1.0)], Of(shard => shard.LocalHeads), Of(shard => shard.HeadShare.Count + (shard.MlpShare.Count / 2.0)), Of(shard => shard.MlpShare.Count), Of(shard => shard.LocalVocab)];
        (double[] Weights, Partition Partition, double Cost) best = ([], plan.Partition, double.PositiveInfinity);
        foreach (double[] weights in candidates)
        {
            Partition partition = Partition.Weighted(Checkpoint.Config, weights);
            Prediction prediction = Planner.Predict(Costs, Devices.Profiles, Devices.Links, Workload, plan.Devices, partition);
            if (prediction.CostSeconds < best.Cost && prediction.Memory.All(memory => memory.TotalBytes <= memory.UsableBytes))
                best = (weights, partition, prediction.CostSeconds);
        }
        bool isEven = best.Weights.All(weight => weight == best.Weights[0]);
        return (isEven ? [] : best.Weights, best.Partition, (best.Cost / plan.Prediction.CostSeconds) - 1);

        // A weight of 0 is none that --partition takes.
        double[] Of(Func<ShardPlan, double> share) => [.. shards.Select(shard => Math.Max(share(shard), 1e-3))];
    }

    /// <summary>The words of what was minimised.</summary>
    public string Objective => Words.Objectives.Of(Workload.Objective);
}
