using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>A lower bound on what a group of devices takes, without a search: shares are fractions, every KV head is on one rank, sums have one piece.</summary>
internal static class GroupBound
{
    public static double Of(CostModel costs, IReadOnlyList<int> group)
    {
        if (!MayHaveRoom(costs, group))
            return double.PositiveInfinity;
        ModelConfig config = costs.Model.Config;
        CollectiveCosts[] collectives = costs.Collectives(group);
        double kvShare = (double)config.KvHeads / config.Heads, seconds = 0;
        for (int phase = 0; phase < 2; phase++)
        {
            PhaseCosts[] of = [.. group.Select(device => costs.Phases[device][phase])];
            CollectiveCosts between = collectives[phase];
            seconds += costs.Weights[phase] * (
                of.Max(cost => cost.Embedding.Of(0).Total) + between.Embedding.Seconds + between.Head.Seconds
                + (2 * (between.SumSeconds + between.PieceSeconds.Min()))
                + Level(config.Heads, [.. of.Select(cost => (cost.Attention.Always.Total, cost.Attention.PerUnit.Total + (kvShare * cost.Attention.PerKvHead.Total)))])
                + Level(config.MlpColumns, [.. of.Select(cost => (cost.Mlp.Always.Total, cost.Mlp.PerUnit.Total))])
                + Level(config.Vocab, [.. of.Select(cost => (cost.Head.Always.Total, cost.Head.PerUnit.Total))]));
        }
        // Rounding must not lift the bound above what it bounds.
        return seconds * (1 - 1e-12);
    }

    /// <summary>Whether the devices together hold the model once, and each of them what every rank holds.</summary>
    public static bool MayHaveRoom(CostModel costs, IReadOnlyList<int> group)
    {
        ModelConfig config = costs.Model.Config;
        double shared = costs.Memory.Heads(config.Heads, config.KvHeads) + costs.Memory.Columns(config.MlpColumns) + costs.Memory.VocabRows(config.Vocab), room = 0;
        foreach (int device in group)
        {
            double left = costs.Devices[device].MemoryBytes - costs.Memory.Always;
            if (left < 0)
                return false;
            room += left;
        }
        return shared <= room;
    }

    /// <summary>The least time in which ranks that each need (always + each · share) finish shares that add up to a total; no less than any rank's always.</summary>
    private static double Level(double total, (double Always, double Each)[] ranks)
    {
        Array.Sort(ranks);
        double rate = 0, head = 0, level = double.PositiveInfinity;
        for (int rank = 0; rank < ranks.Length; rank++)
        {
            rate += 1 / ranks[rank].Each;
            head += ranks[rank].Always / ranks[rank].Each;
            level = (total + head) / rate;
            if (rank + 1 < ranks.Length && level <= ranks[rank + 1].Always)
                break;
        }
        return Math.Max(level, ranks[^1].Always);
    }
}
