using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>What is known of one rank of a ready group.</summary>
internal sealed class RankStatus(HeldWorker worker, LoadRequest request, LoadReport report, IReadOnlyList<PathInfo> paths)
{
    public HeldWorker Worker { get; } = worker;

    /// <summary>How the gateway reaches it.</summary>
    public IWorkerLink Client => Worker.Link;

    /// <summary>What its host is and has.</summary>
    public HelloReply Facts { get; } = worker.Facts!;

    public LoadRequest Request { get; } = request;

    public LoadReport Report { get; } = report;

    /// <summary>What its paths cost when they were proved; empty where they were not.</summary>
    public IReadOnlyList<PathInfo> Paths { get; } = paths;

    /// <summary>Microseconds of the last step. Written by the step loop alone; readers may see a step's numbers mixed with the next one's.</summary>
    public (int Compute, int Collective, int Step) LastStep { get; set; }

    /// <summary>How long the rank waited between the last step and the one before, in microseconds.</summary>
    public int LastIdleMicroseconds { get; set; }
}

/// <summary>Lays out what is known of a group, once for everyone who shows it: GetTopology, /topology, the banner.</summary>
internal static class TopologyReport
{
    /// <param name="plan">Who owns what.</param>
    /// <param name="state">What the group is doing.</param>
    /// <param name="epoch">The epoch of <paramref name="ranks"/>.</param>
    /// <param name="ranks">By rank; none before the group was ready for the first time.</param>
    public static GetTopologyResponse Create(GroupPlan plan, GroupState state, long epoch, IReadOnlyList<RankStatus> ranks)
    {
        GetTopologyResponse topology = new() { State = state, DeviceReason = plan.Devices.Reason };
        foreach (RankStatus status in ranks)
            topology.Ranks.Add(Describe(plan.Shards[topology.Ranks.Count], plan.Devices.Ranks[topology.Ranks.Count], status));
        topology.Epoch = topology.Ranks.Count == 0 ? 0 : epoch;
        return topology;
    }

    private static RankInfo Describe(ShardPlan shard, RankDevice device, RankStatus status)
    {
        (int compute, int collective, int step) = status.LastStep;
        LoadReport report = status.Report;
        return new RankInfo
        {
            Rank = shard.Rank,
            Address = status.Client.Address,
            Pid = status.Facts.Pid,
            Device = device.Describe(status.Facts.Device),
            Isa = Words.InstructionSets.Of(status.Request.Isa),
            Backend = report.Backend,
            Transport = report.Transport,
            TransportReason = report.TransportReason,
            AllReduceMicroseconds = report.AllReduceMicroseconds,
            Paths = { status.Paths },
            Heads = Range(shard.FirstHead, shard.LocalHeads),
            KvHeads = Range(shard.FirstKvHead, shard.LocalKvHeads),
            MlpLeaves = new IndexRange { Start = shard.MlpShare.First, End = shard.MlpShare.End },
            VocabRows = Range(shard.FirstVocab, shard.LocalVocab),
            WeightBytes = report.WeightBytes,
            KvBytes = report.KvBytes,
            LoadSeconds = report.Seconds,
            ComputeMicroseconds = compute,
            CollectiveMicroseconds = collective,
            StepMicroseconds = step,
        };
    }

    private static IndexRange Range(int first, int count) => new() { Start = first, End = first + count };
}
