using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Splits the vocabulary's rows: no sum joins them, so only how many each rank has matters, and thresholds on both maxima find the best.</summary>
/// <remarks>
/// For a bound on every rank's prefill and one on every rank's decode a rank takes as many rows as both allow; the bounds are enough where these are all
/// rows. The candidates are the values that some count of rows has on some rank: as the bound on prefill rises from one to the next, the least bound on
/// decode only falls, so one walk over both lists finds the best pair.
/// </remarks>
internal sealed class RowSplit
{
    // More units than these are counted in larger ones: a rank's share then is as fine as 1 in 4096 of the vocabulary.
    private const int MostUnits = 4096;

    private readonly int _vocab, _ranks;
    private readonly SegmentLine[] _prefill, _decode;
    private readonly (double[] Seconds, int[] Rank) _prefillSteps, _decodeSteps;

    public RowSplit(CostModel costs, IReadOnlyList<int> chosen)
    {
        ModelConfig config = costs.Model.Config;
        _vocab = config.Vocab;
        _ranks = chosen.Count;
        Unit = Partition.VocabUnit(_vocab, _ranks);
        while ((_vocab + Unit - 1) / Unit > MostUnits)
            Unit *= 2;
        Units = (_vocab + Unit - 1) / Unit;
        UnitBytes = costs.Memory.VocabRows(Unit);
        double[] weights = costs.Weights;
        _prefill = [.. chosen.Select(device => SegmentLine.Of(costs.Phases[device][0].Head, Unit, weights[0]))];
        _decode = [.. chosen.Select(device => SegmentLine.Of(costs.Phases[device][1].Head, Unit, weights[1]))];
        _prefillSteps = Steps(_prefill);
        _decodeSteps = Steps(_decode);
        Unbound = Best([.. Enumerable.Repeat(Units, _ranks)])!;
    }

    /// <summary>Rows that are given away together.</summary>
    public int Unit { get; }

    /// <summary>How many of them there are; the last may be short of rows.</summary>
    public int Units { get; }

    /// <summary>Bytes of one.</summary>
    public double UnitBytes { get; }

    /// <summary>The best split where memory does not matter.</summary>
    public Split Unbound { get; }

    /// <summary>The cheapest split, in rows; of equal ones the most even. Null = there is no room.</summary>
    /// <param name="room">By rank, most units.</param>
    public Split? Best(IReadOnlyList<int> room)
    {
        if (room.Sum(units => (long)units) < Units)
            return null;

        // 1. Bounds so wide that only the room counts; then the bound on prefill from its least upwards.
        double leastPrefill = _prefill.Max(line => line.Always), leastDecode = _decode.Max(line => line.Always);
        int[] prefill = new int[_ranks], decode = [.. Enumerable.Repeat(Units, _ranks)];
        int top = _decodeSteps.Rank.Length - 1;
        long given = 0;
        double best = double.PositiveInfinity, bestPrefill = 0, bestDecode = 0;
        for (int i = 0; i < _prefillSteps.Rank.Length; i++)
        {
            int rank = _prefillSteps.Rank[i];
            given -= Given(rank);
            prefill[rank]++;
            given += Given(rank);
            if (given < Units || (i + 1 < _prefillSteps.Rank.Length && _prefillSteps.Seconds[i + 1] == _prefillSteps.Seconds[i]))
                continue;

            // 2. The bound on decode as low as it then may be.
            while (top >= 0)
            {
                int lowered = _decodeSteps.Rank[top];
                long without = given - Given(lowered) + Math.Min(Math.Min(prefill[lowered], decode[lowered] - 1), room[lowered]);
                if (without < Units)
                    break;
                decode[lowered]--;
                given = without;
                top--;
            }
            double boundPrefill = Math.Max(leastPrefill, _prefillSteps.Seconds[i]), boundDecode = top < 0 ? leastDecode : Math.Max(leastDecode, _decodeSteps.Seconds[top]);
            if (boundPrefill + boundDecode < best)
                (best, bestPrefill, bestDecode) = (boundPrefill + boundDecode, boundPrefill, boundDecode);
            if (boundPrefill + leastDecode >= best)
                break;
        }

        // 3. The most even split within the best bounds.
        int[] most = [.. Enumerable.Range(0, _ranks).Select(rank => Math.Min(room[rank], Math.Min(_prefill[rank].UnitsWithin(bestPrefill, Units), _decode[rank].UnitsWithin(bestDecode, Units))))];
        return new Split(Rows(Level(most)), best);

        int Given(int rank) => Math.Min(Math.Min(prefill[rank], decode[rank]), room[rank]);
    }

    private (double[] Seconds, int[] Rank) Steps(SegmentLine[] lines)
    {
        double[] seconds = new double[_ranks * Units];
        int[] ranks = new int[_ranks * Units];
        for (int rank = 0; rank < _ranks; rank++)
            for (int units = 1; units <= Units; units++)
                (seconds[(rank * Units) + units - 1], ranks[(rank * Units) + units - 1]) = (lines[rank].At(units), rank);
        Array.Sort(seconds, ranks);
        return (seconds, ranks);
    }

    /// <summary>Counts up to each rank's most, as level as they can be: the level rises until all units are given.</summary>
    private int[] Level(int[] most)
    {
        int low = 0, high = Units;
        while (low < high)
        {
            int level = low + ((high - low) / 2);
            if (most.Sum(units => (long)Math.Min(units, level)) >= Units)
                high = level;
            else
                low = level + 1;
        }
        int[] counts = [.. most.Select(units => Math.Min(units, low))];
        int over = counts.Sum() - Units;
        for (int rank = _ranks - 1; rank >= 0 && over > 0; rank--)
            if (counts[rank] == low)
            {
                counts[rank]--;
                over--;
            }
        return counts;
    }

    private int[] Rows(int[] counts)
    {
        int[] boundaries = new int[_ranks + 1];
        int units = 0;
        for (int rank = 0; rank < _ranks; rank++)
        {
            units += counts[rank];
            boundaries[rank + 1] = Math.Min(units * Unit, _vocab);
        }
        return boundaries;
    }
}

/// <summary>Seconds of so many units, where each costs the same: always + (any + each · units where there are any).</summary>
internal readonly record struct SegmentLine(double Always, double IfAny, double Each)
{
    public static SegmentLine Of(SegmentCosts costs, int unit, double weight) =>
        new(weight * costs.Always.Total, weight * costs.IfAny.Total, weight * unit * costs.PerUnit.Total);

    public double At(int units) => units == 0 ? Always : Always + IfAny + (Each * units);

    /// <summary>Most units that take no longer than a bound.</summary>
    public int UnitsWithin(double seconds, int most)
    {
        int low = 0, high = most;
        while (low < high)
        {
            int middle = low + ((high - low + 1) / 2);
            if (At(middle) <= seconds)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }
}
