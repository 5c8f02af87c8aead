using TpServe.Gateway.Settings;
using TpServe.Protos.Worker;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>Turns the group's plan and what the workers say of themselves into one LoadRequest a rank.</summary>
internal static class LoadPlanner
{
    /// <exception cref="WorkerStartException">Releases differ: nothing else they say of themselves can be trusted to mean the same.</exception>
    public static void RequireOneRelease(IReadOnlyList<HelloReply> facts)
    {
        for (int rank = 1; rank < facts.Count; rank++)
            if (facts[rank].Version != facts[0].Version)
                throw new WorkerStartException($"rank {rank} is release {facts[rank].Version}, rank 0 is {facts[0].Version}.");
    }

    /// <param name="facts">What each worker says.</param>
    /// <param name="names">What each is called.</param>
    /// <exception cref="WorkerStartException">Two are one process, by whatever addresses: it would wait for itself.</exception>
    public static void RequireDistinct(IReadOnlyList<HelloReply> facts, IReadOnlyList<string> names)
    {
        for (int rank = 1; rank < facts.Count; rank++)
            for (int other = 0; other < rank; other++)
                if ((facts[rank].Pid, facts[rank].HostId, facts[rank].PidNamespace) == (facts[other].Pid, facts[other].HostId, facts[other].PidNamespace))
                    throw new WorkerStartException(names[other] == names[rank]
                        ? $"--worker {names[rank]} is given twice; each rank needs a worker of its own."
                        : $"--worker {names[other]} and --worker {names[rank]} are the same worker, process {facts[rank].Pid}; each rank needs one of its own.");
    }

    /// <exception cref="WorkerStartException">The wanted instruction set is not to be had.</exception>
    public static LoadRequest[] Requests(
        GroupPlan plan, GatewayOptions options, string modelPath, long epoch, string segmentPrefix, IReadOnlyList<HelloReply> facts, TransportChoice transport, string draftPath = "", int overlapRows = 0)
    {
        LoadRequest[] requests = new LoadRequest[plan.Degree];
        if (options.Overlap == OverlapWish.On)
            overlapRows = Overlap.BlockRows;
        if (plan.Degree == 1 || plan.Devices.OnGpus)
            overlapRows = 0; // no sum travels, or it is the device's to order
        int[] threads = [.. plan.Threads.Select((count, rank) => count > 0 ? count : Threads(facts, rank))];
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
                Isa = Isa(options.Isa, rank, facts[rank]),
                Threads = threads[rank],
                KvDtype = options.KvDtype,
                ActivationDtype = options.Activations,
                BlockTokens = plan.BlockTokens,
                KvBlocks = plan.KvBlocks,
                MaxModelLen = plan.MaxModelLen,
                MaxStepTokens = options.MaxStepTokens,
                Transport = transport.Kind,
                TransportReason = transport.Reason,
                SegmentPrefix = segmentPrefix,
                RingAddresses = { facts.Select(fact => fact.RingAddress) },
                Hosts = { transport.Hosts },
                Wire = plan.Degree == 1 ? Wire.F32 : options.Wire,
                OverlapRows = overlapRows,
                CollectiveTimeoutMs = (int)options.CollectiveTimeout.TotalMilliseconds,
                Device = plan.Devices.Ranks[rank].Message,
            };
            if (plan.Draft is { } draft)
                requests[rank].Draft = new DraftModel
                {
                    ModelPath = draftPath,
                    HeadBoundaries = { draft.Partition.HeadBoundaries },
                    LeafBoundaries = { draft.Partition.LeafBoundaries },
                    VocabBoundaries = { draft.Partition.VocabBoundaries },
                    MaxModelLen = draft.MaxModelLen,
                };
            if (options.Pin && requests[rank].Device.Kind == DeviceKind.Cpu)
                requests[rank].Cpus.Add(Cpus(facts, rank, threads));
        }
        return requests;
    }

    /// <summary>This rank's share of the cores that its workers may use, and of those that the machine has: containers of one machine are different hosts to each other.</summary>
    private static int Threads(IReadOnlyList<HelloReply> facts, int rank)
    {
        HelloReply own = facts[rank];
        int sharing = facts.Count(fact => fact.HostId == own.HostId), onMachine = facts.Count(fact => fact.Machine() == own.Machine());
        return Math.Max(1, Math.Min(own.Cores / sharing, own.HostCores / onMachine));
    }

    /// <summary>This rank's part of the CPUs that it shares with other ranks, in proportion to its threads; all of them where that is too few for these.</summary>
    private static IEnumerable<int> Cpus(IReadOnlyList<HelloReply> facts, int rank, int[] threads)
    {
        HelloReply own = facts[rank];
        int[] sharing = [.. Enumerable.Range(0, facts.Count).Where(other => facts[other].Machine() == own.Machine() && facts[other].Cpus.ToHashSet().SetEquals(own.Cpus))];
        int before = sharing.Where(other => other < rank).Sum(other => threads[other]), all = sharing.Sum(other => threads[other]);
        int first = own.Cpus.Count * before / all, end = own.Cpus.Count * (before + threads[rank]) / all;
        return end - first < threads[rank] ? own.Cpus : own.Cpus.Take(first..end);
    }

    /// <summary>Every path gives the same bits, so that ranks on unlike processors each take their widest.</summary>
    private static InstructionSet Isa(InstructionSet wanted, int rank, HelloReply worker)
    {
        if (wanted == InstructionSet.Unspecified)
            return worker.Isa;
        if (!worker.Isas.Contains(wanted))
            throw new WorkerStartException($"--isa {Words.InstructionSets.Of(wanted)} is not available to rank {rank}, which has {string.Join(", ", worker.Isas.Select(Words.InstructionSets.Of))}.");
        return wanted;
    }
}

/// <summary>What a host id says: the machine's boot id, the IPC namespace and the device of /dev/shm.</summary>
internal static class HostIds
{
    /// <summary>Equal for the workers of one machine, in whatever containers they run.</summary>
    public static string Machine(this HelloReply worker) => worker.HostId.Split('/')[0];
}
