using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Turns the group's plan and what the workers say of themselves into one LoadRequest a rank.</summary>
internal static class LoadPlanner
{
    private static readonly string[] IsaFromNarrow = ["scalar", "avx2", "avx512", "avx512-vnni"];

    /// <exception cref="WorkerStartException">Releases differ: nothing else they say of themselves can be trusted to mean the same.</exception>
    public static void RequireOneRelease(IReadOnlyList<HelloReply> facts)
    {
        for (int rank = 1; rank < facts.Count; rank++)
            if (facts[rank].Version != facts[0].Version)
                throw new WorkerStartException($"rank {rank} is release {facts[rank].Version}, rank 0 is {facts[0].Version}.");
    }

    /// <exception cref="WorkerStartException">The wanted instruction set is not to be had.</exception>
    public static LoadRequest[] Requests(
        GroupPlan plan, GatewayOptions options, string modelPath, long epoch, string segmentPrefix, IReadOnlyList<HelloReply> facts, TransportChoice transport)
    {
        string isa = Isa(options.Isa, facts);
        LoadRequest[] requests = new LoadRequest[plan.Degree];
        for (int rank = 0; rank < requests.Length; rank++)
        {
            requests[rank] = new LoadRequest
            {
                Epoch = epoch,
                Rank = rank,
                Degree = plan.Degree,
                ModelPath = modelPath,
                HeadBoundaries = { plan.Partition.HeadBoundaries },
                LeafBoundaries = { plan.Partition.LeafBoundaries },
                VocabBoundaries = { plan.Partition.VocabBoundaries },
                Isa = isa,
                Threads = plan.Threads,
                KvDtype = options.KvDtype,
                ActivationDtype = options.Activations,
                BlockTokens = plan.BlockTokens,
                KvBlocks = plan.KvBlocks,
                MaxModelLen = plan.MaxModelLen,
                MaxStepTokens = options.MaxStepTokens,
                Transport = transport.Transport,
                TransportReason = transport.Reason,
                SegmentPrefix = segmentPrefix,
                RingAddresses = { facts.Select(fact => fact.RingAddress) },
                CollectiveTimeoutMs = (int)options.CollectiveTimeout.TotalMilliseconds,
                Device = plan.Devices.Ranks[rank].Name,
            };
        }
        return requests;
    }

    private static string Isa(string wanted, IReadOnlyList<HelloReply> facts)
    {
        int widest = facts.Min(fact => Math.Max(0, Array.IndexOf(IsaFromNarrow, fact.Isa)));
        if (wanted == "auto")
            return IsaFromNarrow[widest];
        int index = Array.IndexOf(IsaFromNarrow, wanted);
        if (index > widest)
            throw new WorkerStartException($"instruction set path '{wanted}' is not available on every worker; the widest they share is '{IsaFromNarrow[widest]}'.");
        return wanted;
    }
}
