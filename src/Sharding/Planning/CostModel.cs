using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Predicts what any partition on any of the devices takes: a step is Σ over its segments of the slowest rank's compute and the collective that closes it.</summary>
internal sealed class CostModel
{
    private readonly IReadOnlyList<StepKind>[] _steps;

    /// <exception cref="ShardingException">A profile, a link, the model or the workload has a value that it cannot have.</exception>
    public CostModel(ModelCosts model, IReadOnlyList<DeviceProfile> devices, LinkTable links, Workload workload, long kvTokens)
    {
        model.Check();
        workload.Check();
        if (devices.Count is < 1 or > Partition.MaxDegree)
            throw new ShardingException($"{devices.Count} devices are not in 1..{Partition.MaxDegree}.");
        foreach (DeviceProfile device in devices)
            device.Check();
        links.Check(devices);
        (Model, Devices, Links, Workload) = (model, devices, links, workload);
        _steps = [workload.Prefill(model.Config), workload.Decode(model.Config)];
        Phases = [.. devices.Select(device => _steps.Select(steps => PhaseCosts.Of(model, device, steps)).ToArray())];
        Memory = new MemoryCosts(
            model, kvTokens > 0 ? kvTokens : (long)workload.Batch * workload.ContextTokens, Math.Max(workload.Batch, Math.Min(workload.ChunkTokens, workload.PromptTokens)), workload.Batch);
    }

    public ModelCosts Model { get; }

    public IReadOnlyList<DeviceProfile> Devices { get; }

    public LinkTable Links { get; }

    public Workload Workload { get; }

    /// <summary>By device: prefill, decode.</summary>
    public PhaseCosts[][] Phases { get; }

    public MemoryCosts Memory { get; }

    /// <summary>How often the phases count in what is minimised: prefill, decode.</summary>
    public double[] Weights => [Workload.PrefillWeight, Workload.DecodeWeight];

    /// <summary>Prefill's and decode's collectives in a group.</summary>
    public CollectiveCosts[] Collectives(IReadOnlyList<int> chosen) => [.. _steps.Select(steps => CollectiveCosts.Of(Model.Config, Devices, Links, chosen, steps))];

    public Prediction Predict(IReadOnlyList<int> chosen, Partition partition) => Predict(chosen, partition, Collectives(chosen));

    public Prediction Predict(IReadOnlyList<int> chosen, Partition partition, CollectiveCosts[] collectives)
    {
        ModelConfig config = Model.Config;
        ShardPlan[] shards = [.. chosen.Select((_, rank) => new ShardPlan(config, partition, rank))];
        PhasePrediction prefill = Phase(0, "prefill"), decode = Phase(1, "decode");
        double prompt = prefill.Seconds, step = decode.Seconds, cost = (Workload.PrefillWeight * prompt) + (Workload.DecodeWeight * step);
        return new Prediction(
            cost, prompt, step, Workload.Objective == PlanObjective.Latency ? Workload.Batch / step : Workload.Batch * (double)Workload.OutputTokens / cost,
            [prefill, decode], [.. shards.Select((shard, rank) => MemoryOf(shard, Devices[chosen[rank]]))], KvCapacity(chosen, shards));

        PhasePrediction Phase(int phase, string name)
        {
            CollectiveCosts between = collectives[phase];
            double attention = between.SumSeconds, mlp = between.SumSeconds, attentionPieces = 0, mlpPieces = 0;
            foreach (ShardPlan shard in shards)
            {
                attention += between.PieceSeconds[shard.Rank] * shard.HeadShare.Pieces;
                mlp += between.PieceSeconds[shard.Rank] * shard.MlpShare.Pieces;
                attentionPieces += shard.HeadShare.Pieces;
                mlpPieces += shard.MlpShare.Pieces;
            }
            return new PhasePrediction(name,
            [
                new SegmentPrediction("embedding", Compute((costs, _) => costs.Embedding.Of(0)), between.Embedding.Seconds, between.Embedding.Bytes),
                new SegmentPrediction(
                    "attention", Compute((costs, shard) => costs.Attention.Of(shard.LocalHeads, shard.LocalKvHeads)), attention, between.SumBytes + (between.PieceBytes * attentionPieces)),
                new SegmentPrediction("mlp", Compute((costs, shard) => costs.Mlp.Of(shard.LocalIntermediate)), mlp, between.SumBytes + (between.PieceBytes * mlpPieces)),
                new SegmentPrediction("head", Compute((costs, shard) => costs.Head.Of(shard.LocalVocab)), between.Head.Seconds, between.Head.Bytes),
            ]);

            ComputeParts[] Compute(Func<PhaseCosts, ShardPlan, ComputeParts> of) => [.. shards.Select(shard => of(Phases[chosen[shard.Rank]][phase], shard))];
        }
    }

    /// <summary>Whether every rank's share has room on its device.</summary>
    public bool Fits(IReadOnlyList<int> chosen, Partition partition)
    {
        for (int rank = 0; rank < chosen.Count; rank++)
            if (Memory.Total(new ShardPlan(Model.Config, partition, rank)) > Devices[chosen[rank]].MemoryBytes)
                return false;
        return true;
    }

    private RankMemory MemoryOf(ShardPlan shard, DeviceProfile device)
    {
        long total = (long)Math.Ceiling(Memory.Total(shard)), weights = (long)Math.Ceiling(Memory.Weights(shard)), kv = (long)Memory.Kv(shard);
        return new RankMemory(weights, kv, Math.Max(0, total - weights - kv), device.MemoryBytes);
    }

    private long KvCapacity(IReadOnlyList<int> chosen, ShardPlan[] shards)
    {
        long tokens = long.MaxValue;
        foreach (ShardPlan shard in shards)
            if (shard.LocalKvHeads > 0)
            {
                double spare = Devices[chosen[shard.Rank]].MemoryBytes - Memory.Total(shard) + Memory.Kv(shard);
                tokens = Math.Min(tokens, (long)Math.Max(0, spare / (shard.LocalKvHeads * Memory.KvTokenBytes)));
                // A layer's keys stay below 2^31 elements, so that kernels may index them with 32 bits.
                tokens = Math.Min(tokens, int.MaxValue / ((long)shard.LocalKvHeads * Model.Config.HeadDim));
            }
        return tokens;
    }
}
