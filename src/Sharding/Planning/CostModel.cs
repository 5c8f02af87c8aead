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
        RankShare[] shares = RankShare.Of(Model.Config, partition);
        PhasePrediction prefill = Phase(0, "prefill"), decode = Phase(1, "decode");
        double prompt = prefill.Seconds, step = decode.Seconds, cost = (Workload.PrefillWeight * prompt) + (Workload.DecodeWeight * step);
        return new Prediction(
            cost, prompt, step, Workload.Objective == PlanObjective.Latency ? Workload.Batch / step : Workload.Batch * (double)Workload.OutputTokens / cost,
            [prefill, decode], [.. shares.Select((share, rank) => MemoryOf(share, Devices[chosen[rank]]))], KvCapacity(chosen, shares));

        PhasePrediction Phase(int phase, string name)
        {
            CollectiveCosts between = collectives[phase];
            double attention = between.SumSeconds, mlp = between.SumSeconds, attentionPieces = 0, mlpPieces = 0;
            for (int rank = 0; rank < shares.Length; rank++)
            {
                attention += between.PieceSeconds[rank] * shares[rank].HeadPieces;
                mlp += between.PieceSeconds[rank] * shares[rank].LeafPieces;
                attentionPieces += shares[rank].HeadPieces;
                mlpPieces += shares[rank].LeafPieces;
            }
            return new PhasePrediction(name,
            [
                new SegmentPrediction("embedding", Compute((costs, _) => costs.Embedding.Of(0)), between.Embedding.Seconds, between.Embedding.Bytes),
                new SegmentPrediction(
                    "attention", Compute((costs, share) => costs.Attention.Of(share.Heads, share.KvHeads)), attention, between.SumBytes + (between.PieceBytes * attentionPieces)),
                new SegmentPrediction("mlp", Compute((costs, share) => costs.Mlp.Of(share.Columns)), mlp, between.SumBytes + (between.PieceBytes * mlpPieces)),
                new SegmentPrediction("head", Compute((costs, share) => costs.Head.Of(share.Rows)), between.Head.Seconds, between.Head.Bytes),
            ]);

            ComputeParts[] Compute(Func<PhaseCosts, RankShare, ComputeParts> of) => [.. shares.Select((share, rank) => of(Phases[chosen[rank]][phase], share))];
        }
    }

    /// <summary>Whether every rank's share has room on its device.</summary>
    public bool Fits(IReadOnlyList<int> chosen, Partition partition)
    {
        RankShare[] shares = RankShare.Of(Model.Config, partition);
        for (int rank = 0; rank < chosen.Count; rank++)
            if (Memory.Total(shares[rank]) > Devices[chosen[rank]].MemoryBytes)
                return false;
        return true;
    }

    private RankMemory MemoryOf(RankShare share, DeviceProfile device)
    {
        long total = (long)Math.Ceiling(Memory.Total(share)), weights = (long)Math.Ceiling(Memory.Weights(share)), kv = (long)Memory.Kv(share);
        return new RankMemory(weights, kv, Math.Max(0, total - weights - kv), device.MemoryBytes);
    }

    private long KvCapacity(IReadOnlyList<int> chosen, RankShare[] shares)
    {
        long tokens = long.MaxValue;
        for (int rank = 0; rank < shares.Length; rank++)
            if (shares[rank] is { KvHeads: > 0 } share)
            {
                double spare = Devices[chosen[rank]].MemoryBytes - Memory.Total(share) + Memory.Kv(share);
                tokens = Math.Min(tokens, (long)Math.Max(0, spare / (share.KvHeads * Memory.KvTokenBytes)));
                // A layer's keys stay below 2^31 elements, so that kernels may index them with 32 bits.
                tokens = Math.Min(tokens, int.MaxValue / ((long)share.KvHeads * Model.Config.HeadDim));
            }
        return tokens;
    }
}
