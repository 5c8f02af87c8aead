using TpServe.Checkpoint.Config;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>The split whose slowest rank takes least, for ranks of known speed: in proportion to speed, then bettered unit by unit.</summary>
/// <remarks>
/// Heads are few, leaves are many: what whole heads leave uneven is made up by leaves and vocabulary. Every step moves one boundary by one unit, where that
/// lowers a high power of the ranks' times: near the largest, and smooth where two ranks are level.
/// Pure. Ends at a split that no single unit betters.
/// </remarks>
internal static class BalanceSearch
{
    private const int MostSteps = 1000;
    private const double Power = 16;

    /// <summary>The best split that is found.</summary>
    /// <param name="config">The model.</param>
    /// <param name="work">What its parts cost.</param>
    /// <param name="secondsOfByte">What each rank takes for a byte of work.</param>
    /// <param name="present">The split as it is, which is given back where nothing is better.</param>
    public static Partition Best(ModelConfig config, ShardWork work, IReadOnlyList<double> secondsOfByte, Partition present)
    {
        Partition proportional = Partition.Weighted(config, [.. secondsOfByte.Select(seconds => 1 / Math.Max(seconds, 1e-30))]);
        Partition[] candidates = [present, Climb(config, work, secondsOfByte, present), proportional, Climb(config, work, secondsOfByte, proportional)];
        return candidates.MinBy(candidate => Seconds(config, work, secondsOfByte, candidate).Max())!;
    }

    /// <summary>What each rank's work takes.</summary>
    public static double[] Seconds(ModelConfig config, ShardWork work, IReadOnlyList<double> secondsOfByte, Partition partition) =>
        [.. Enumerable.Range(0, partition.Degree).Select(rank => SecondsOf(config, work, secondsOfByte, partition, rank))];

    private static Partition Climb(ModelConfig config, ShardWork work, IReadOnlyList<double> secondsOfByte, Partition split)
    {
        int vocabUnit = Math.Max(1, config.Vocab / 64 / 64 * 64);
        double[] seconds = Seconds(config, work, secondsOfByte, split);
        double scale = seconds.Max();
        for (int step = 0; step < MostSteps; step++)
        {
            (double Cost, Partition? Next, int Left) best = (0, null, 0);
            for (int left = 0; left < split.Degree - 1; left++)
                foreach (Partition next in Neighbours(split, left + 1, vocabUnit))
                {
                    double cost = Cost(SecondsOf(config, work, secondsOfByte, next, left)) + Cost(SecondsOf(config, work, secondsOfByte, next, left + 1))
                        - Cost(seconds[left]) - Cost(seconds[left + 1]);
                    if (cost < best.Cost - 1e-12)
                        best = (cost, next, left);
                }
            if (best.Next is null)
                break;
            split = best.Next;
            for (int rank = best.Left; rank <= best.Left + 1; rank++)
                seconds[rank] = SecondsOf(config, work, secondsOfByte, split, rank);
        }
        return split;

        double Cost(double rankSeconds) => Math.Pow(rankSeconds / scale, Power);
    }

    private static IEnumerable<Partition> Neighbours(Partition split, int boundary, int vocabUnit)
    {
        for (int sign = -1; sign <= 1; sign += 2)
        {
            if (Shifted(split.HeadBoundaries, boundary, sign) is { } heads)
                yield return split with { HeadBoundaries = heads };
            if (Shifted(split.LeafBoundaries, boundary, sign) is { } leaves)
                yield return split with { LeafBoundaries = leaves };
            if (Shifted(split.VocabBoundaries, boundary, sign * vocabUnit) is { } rows)
                yield return split with { VocabBoundaries = rows };
        }
    }

    private static int[]? Shifted(IReadOnlyList<int> boundaries, int boundary, int by)
    {
        int moved = boundaries[boundary] + by;
        if (moved < boundaries[boundary - 1] || moved > boundaries[boundary + 1])
            return null;
        int[] shifted = [.. boundaries];
        shifted[boundary] = moved;
        return shifted;
    }

    private static double SecondsOf(ModelConfig config, ShardWork work, IReadOnlyList<double> secondsOfByte, Partition partition, int rank) =>
        work.Of(new ShardPlan(config, partition, rank)) * secondsOfByte[rank];
}
