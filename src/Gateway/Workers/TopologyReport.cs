using TpServe.Gateway.Devices;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>Lays out what is known of a group for GetTopology, the banner and the page.</summary>
internal static class TopologyReport
{
    /// <param name="plan">Who owns what.</param>
    /// <param name="epoch">The epoch of <paramref name="ranks"/>.</param>
    /// <param name="ranks">By rank; entries are null before the group was ready for the first time.</param>
    public static TopologyFacts Create(GroupPlan plan, long epoch, IReadOnlyList<RankStatus?> ranks)
    {
        List<RankFacts> facts = [];
        foreach (RankStatus? status in ranks)
            if (status is not null)
                facts.Add(Describe(plan.Shards[facts.Count], plan.Devices.Ranks[facts.Count], status));
        return new TopologyFacts(facts.Count == 0 ? 0 : epoch, facts) { DeviceReason = plan.Devices.Reason };
    }

    private static RankFacts Describe(ShardPlan shard, RankDevice device, RankStatus status)
    {
        (int compute, int collective, int step) = status.LastStep;
        LoadReport report = status.Report;
        return new RankFacts
        {
            Rank = shard.Rank,
            Address = status.Client.Address,
            Pid = status.Facts.Pid,
            Device = device.Describe(status.Facts.Device),
            Isa = status.Request.Isa,
            Backend = report.Backend,
            Transport = report.Transport,
            TransportReason = report.TransportReason,
            AllReduceMicroseconds = report.AllReduceMicroseconds,
            Paths = [.. status.Paths.Select(path => new PathFacts(path.Peer, path.RoundTripMicroseconds, path.BytesPerSecond))],
            Heads = shard.FirstHead..(shard.FirstHead + shard.LocalHeads),
            KvHeads = shard.FirstKvHead..(shard.FirstKvHead + shard.LocalKvHeads),
            MlpLeaves = shard.MlpShare.First..shard.MlpShare.End,
            VocabRows = shard.FirstVocab..(shard.FirstVocab + shard.LocalVocab),
            WeightBytes = report.WeightBytes,
            KvBytes = report.KvBytes,
            LoadSeconds = report.Seconds,
            ComputeMicroseconds = compute,
            CollectiveMicroseconds = collective,
            StepMicroseconds = step,
        };
    }
}
