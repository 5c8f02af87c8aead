namespace TpServe.Sharding.Planning;

/// <summary>The plan that the planner takes, and what else there was.</summary>
/// <param name="Best">What to do.</param>
/// <param name="Alternatives">The best of the others, which differ from it and from each other in their devices or boundaries; cheapest first.</param>
/// <param name="LowerBoundSeconds">No plan is cheaper than this.</param>
/// <param name="IsProven">Whether the search has shown that none is cheaper than <see cref="Best"/>, but for the even split's allowance.</param>
public sealed record PlanResult(RankedPlan Best, IReadOnlyList<RankedPlan> Alternatives, double LowerBoundSeconds, bool IsProven)
{
    /// <summary>How much dearer the plan is than the lower bound, as a share of the bound.</summary>
    public double Gap => LowerBoundSeconds > 0 ? Math.Max(0, (Best.Prediction.CostSeconds / LowerBoundSeconds) - 1) : 0;
}

/// <summary>A partition, who does it, and what it is predicted to take.</summary>
/// <param name="Devices">For each rank its device, as an index into the devices that the planner was given; ascending.</param>
/// <param name="Partition">Who owns what.</param>
/// <param name="Prediction">What it takes.</param>
public sealed record RankedPlan(IReadOnlyList<int> Devices, Partition Partition, Prediction Prediction)
{
    /// <summary>Number of ranks.</summary>
    public int Degree => Devices.Count;
}

/// <summary>What a plan takes for a workload.</summary>
/// <param name="CostSeconds">What was minimised: one request's time, or the time of a batch of them.</param>
/// <param name="PromptSeconds">Time to the first token of one prompt on an idle server.</param>
/// <param name="StepSeconds">Time of a decode step, which is the time per output token.</param>
/// <param name="TokensPerSecond">Output tokens a second: of one request decoding alone, or of all of a batch, their prompts included.</param>
/// <param name="Phases">Prefill, then decode.</param>
/// <param name="Memory">By rank.</param>
/// <param name="KvCapacityTokens">Tokens of KV cache that every rank has room for.</param>
public sealed record Prediction(
    double CostSeconds, double PromptSeconds, double StepSeconds, double TokensPerSecond, IReadOnlyList<PhasePrediction> Phases, IReadOnlyList<RankMemory> Memory, long KvCapacityTokens);

/// <summary>The steps of one kind of work.</summary>
/// <param name="Name">prefill: all steps of one prompt; decode: one step.</param>
/// <param name="Segments">In order, each closed by its collective.</param>
public sealed record PhasePrediction(string Name, IReadOnlyList<SegmentPrediction> Segments)
{
    /// <summary>All of it.</summary>
    public double Seconds => Segments.Sum(segment => segment.Seconds);

    /// <summary>Of that in collectives.</summary>
    public double CollectiveSeconds => Segments.Sum(segment => segment.CollectiveSeconds);
}

/// <summary>What lies between two collectives, over all layers.</summary>
/// <param name="Name">embedding, attention, mlp, head.</param>
/// <param name="Compute">By rank.</param>
/// <param name="CollectiveSeconds">Of the collective that closes it.</param>
/// <param name="CollectiveBytes">Bytes that ranks read of each other in it, over all ranks.</param>
public sealed record SegmentPrediction(string Name, IReadOnlyList<ComputeParts> Compute, double CollectiveSeconds, double CollectiveBytes)
{
    /// <summary>The rank that all wait for; the lowest of several.</summary>
    public int BoundBy
    {
        get
        {
            int slowest = 0;
            for (int rank = 1; rank < Compute.Count; rank++)
                if (Compute[rank].Total > Compute[slowest].Total)
                    slowest = rank;
            return slowest;
        }
    }

    /// <summary>The slowest rank's compute, and the collective.</summary>
    public double Seconds => Compute[BoundBy].Total + CollectiveSeconds;
}

/// <summary>What a rank holds.</summary>
/// <param name="WeightBytes">Its shard.</param>
/// <param name="KvBytes">Keys and values of the tokens that were asked for.</param>
/// <param name="ScratchBytes">Activations of the largest step.</param>
/// <param name="UsableBytes">What its device has for all of them.</param>
public sealed record RankMemory(long WeightBytes, long KvBytes, long ScratchBytes, long UsableBytes)
{
    /// <summary>All of it.</summary>
    public long TotalBytes => WeightBytes + KvBytes + ScratchBytes;
}
