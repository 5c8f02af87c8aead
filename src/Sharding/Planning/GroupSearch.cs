namespace TpServe.Sharding.Planning;

/// <summary>How much work all searches of one plan may do together: counts, not seconds, so that the same question always has the same answer.</summary>
internal sealed class SearchBudget
{
    /// <summary>Groups of devices that are searched.</summary>
    public int Groups { get; set; } = 64;

    /// <summary>Rounds of prices, over all groups.</summary>
    public int PriceRounds { get; set; } = 96;

    /// <summary>Pairs of splits that are looked at, over all groups.</summary>
    public int Pairs { get; set; } = 400_000;

    /// <summary>Splits of the vocabulary that are searched beside the unbound ones, over all groups.</summary>
    public int RowSplits { get; set; } = 1_500;

    /// <summary>Splits of one segment that are listed.</summary>
    public int Splits => 4_000;
}

/// <summary>The best partition of one group of devices.</summary>
/// <param name="Partition">Who owns what; null = none was found that has room.</param>
/// <param name="Cost">What it costs, as <see cref="Prediction.CostSeconds"/>.</param>
/// <param name="LowerBound">No partition of this group costs less.</param>
/// <param name="IsProven">Whether the search was exhaustive: nothing costs less, or nothing has room.</param>
internal sealed record GroupOutcome(Partition? Partition, double Cost, double LowerBound, bool IsProven);

/// <summary>Finds the best partition of one group of devices: which ones and in which order is given.</summary>
/// <remarks>
/// 1. Heads, leaves and vocabulary rows are split each by itself: their costs add up, so that is the best where all of it has room.
/// 2. Where it has not, prices on each rank's bytes (Lagrange multipliers) give a lower bound that counts memory, and splits near the limits; those that have
///    room, or get it when the other segments are split within what is left, are kept, and improved one segment at a time.
/// 3. Every pair of a heads split and a leaves split that could still be cheaper is tried, as far as the budget goes: then the best is proven.
/// Source   Held and Karp 1971 for the bound; Polyak 1969 for the step.
/// </remarks>
internal sealed class GroupSearch
{
    private const int MostPriceRounds = 24, MostPolishRounds = 8;
    private const double Equal = 1e-13;

    private readonly RangeTable _headTable, _leafTable;
    private readonly RangeSplit _heads, _leaves;
    private readonly RowSplit _rows;
    private readonly SearchBudget _budget;
    private readonly double[] _room;
    private readonly double _always;
    private Found? _best;

    public GroupSearch(CostModel costs, RangeTable heads, RangeTable leaves, IReadOnlyList<int> chosen, SearchBudget budget)
    {
        CollectiveCosts[] collectives = costs.Collectives(chosen);
        double[] weights = costs.Weights;
        double[] pieces = [.. chosen.Select((_, rank) => (weights[0] * collectives[0].PieceSeconds[rank]) + (weights[1] * collectives[1].PieceSeconds[rank]))];
        (_headTable, _leafTable, _budget) = (heads, leaves, budget);
        _heads = new RangeSplit(heads, chosen, pieces);
        _leaves = new RangeSplit(leaves, chosen, pieces);
        _rows = new RowSplit(costs, chosen);
        _room = [.. chosen.Select(device => costs.Devices[device].MemoryBytes - costs.Memory.Always)];
        for (int phase = 0; phase < 2; phase++)
            _always += weights[phase] * ((2 * collectives[phase].SumSeconds) + collectives[phase].Embedding.Seconds + collectives[phase].Head.Seconds
                + chosen.Max(device => costs.Phases[device][phase].Embedding.Of(0).Total));
    }

    /// <summary>Searches.</summary>
    public GroupOutcome Run()
    {
        // 1. Each segment by itself.
        Split heads = _heads.Best()!, leaves = _leaves.Best()!;
        bool isCut = _heads.IsCut || _leaves.IsCut;
        double bound = heads.Cost + leaves.Cost + _rows.Unbound.Cost;
        _budget.RowSplits++; // every group may have its first
        Try(heads, leaves);
        if (_best is { } free && free.Cost <= bound + (Equal * bound))
            return Outcome(bound, !isCut);

        // 2. Prices on memory.
        double priced = Math.Max(bound, Price(bound));
        if (_best is null)
            TryRoomiest();
        if (_best is not null)
            Polish();

        // 3. Whatever could still be cheaper.
        bool isProven = Enumerate(heads.Cost, leaves.Cost) && !isCut;
        return Outcome(isProven && _best is { } best ? best.Cost : Math.Min(priced, _best?.Cost ?? priced), isProven);
    }

    private GroupOutcome Outcome(double bound, bool isProven) => _best is { } best
        ? new GroupOutcome(new Partition(best.Heads.Boundaries, best.Leaves.Boundaries, best.Rows.Boundaries), best.Cost + _always, bound + _always, isProven)
        : new GroupOutcome(null, double.PositiveInfinity, bound + _always, isProven);

    /// <summary>Completes two splits by the best split of the vocabulary in what is left, and keeps what is cheaper than all before.</summary>
    private bool Try(Split heads, Split leaves)
    {
        double cost = _heads.CostOf(heads.Boundaries) + _leaves.CostOf(leaves.Boundaries);
        if (_best is { } best && cost + _rows.Unbound.Cost >= best.Cost)
            return true;
        if (UnitsLeft(heads, leaves) is not { } units)
            return true;
        if (_budget.RowSplits-- <= 0)
            return false;
        if (_rows.Best(units) is { } rows && (_best is null || cost + rows.Cost < _best.Cost))
            _best = new Found(heads, leaves, rows, cost + rows.Cost);
        return true;
    }

    /// <summary>Units of the vocabulary that each rank has room for beside the two splits; null = the two alone have none, or all of it is too little.</summary>
    private int[]? UnitsLeft(Split heads, Split leaves)
    {
        int[] units = new int[_room.Length];
        long all = 0;
        for (int rank = 0; rank < _room.Length; rank++)
        {
            double left = _room[rank] - HeadBytes(heads, rank) - LeafBytes(leaves, rank);
            if (left < 0)
                return null;
            units[rank] = (int)Math.Min(_rows.Units, Math.Floor(left / _rows.UnitBytes));
            all += units[rank];
        }
        return all >= _rows.Units ? units : null;
    }

    /// <summary>Raises the price of each rank's memory where it is short, and lowers it where there is some; returns the best lower bound met.</summary>
    private double Price(double bound)
    {
        double[] prices = new double[_room.Length];
        double bestBound = bound;
        for (int round = 0; round < MostPriceRounds && _budget.PriceRounds-- > 0; round++)
        {
            Split heads = _heads.Best(prices)!, leaves = _leaves.Best(prices)!;
            int cheapest = Array.IndexOf(prices, prices.Min());
            double paid = 0;
            double[] short_ = new double[_room.Length];
            for (int rank = 0; rank < _room.Length; rank++)
            {
                short_[rank] = HeadBytes(heads, rank) + LeafBytes(leaves, rank) + (rank == cheapest ? _rows.Units * _rows.UnitBytes : 0) - _room[rank];
                paid += prices[rank] * _room[rank];
            }
            double here = heads.Cost + leaves.Cost + _rows.Unbound.Cost + (_rows.Units * _rows.UnitBytes * prices[cheapest]) - paid;
            if (!_heads.IsCut && !_leaves.IsCut)
                bestBound = Math.Max(bestBound, here);

            // What has room as it is, or once one of the two is split within what the other leaves.
            Try(heads, leaves);
            if (_leaves.Best(prices, Left(rank => HeadBytes(heads, rank))) is { } otherLeaves)
                Try(heads, otherLeaves);
            if (_heads.Best(prices, Left(rank => LeafBytes(leaves, rank))) is { } otherHeads)
                Try(otherHeads, leaves);

            double norm = short_.Sum(bytes => bytes * bytes);
            double aim = _best is { } best ? best.Cost : 1.1 * Math.Max(bestBound, here);
            if (norm == 0 || aim - here <= Equal * aim)
                break;
            double step = (aim - here) / norm;
            for (int rank = 0; rank < prices.Length; rank++)
                prices[rank] = Math.Max(0, prices[rank] + (step * short_[rank]));
        }
        return bestBound;
    }

    /// <summary>The heads split that takes the least memory, then leaves in proportion to what is left: found where there is barely room.</summary>
    private void TryRoomiest()
    {
        double[] prices = [.. Enumerable.Repeat(1e6, _room.Length)]; // bytes count so much that seconds do not
        if (_heads.Best(prices, _room) is not { } heads)
            return;
        double[] left = Left(rank => HeadBytes(heads, rank));
        double all = left.Sum(), rows = _rows.Units * _rows.UnitBytes;
        foreach (double reserve in new[] { 1.0, 0.75, 0.5, 0.25, 0 })
            if (_best is null && _leaves.Best(prices: null, [.. left.Select(bytes => bytes - (reserve * rows * bytes / all))]) is { } leaves)
                Try(heads, leaves);
    }

    /// <summary>Splits one segment anew in what the two others leave, each in turn, until none gets cheaper.</summary>
    private void Polish()
    {
        for (int round = 0; round < MostPolishRounds; round++)
        {
            Found before = _best!;
            double[] rowBytes = [.. Enumerable.Range(0, _room.Length).Select(rank => Math.Ceiling((before.Rows.Boundaries[rank + 1] - before.Rows.Boundaries[rank]) / (double)_rows.Unit) * _rows.UnitBytes)];
            if (_heads.Best(prices: null, Left(rank => LeafBytes(before.Leaves, rank) + rowBytes[rank])) is { } heads)
                Try(heads, before.Leaves);
            Found between = _best!;
            if (_leaves.Best(prices: null, Left(rank => HeadBytes(between.Heads, rank) + rowBytes[rank])) is { } leaves)
                Try(between.Heads, leaves);
            if (_best!.Cost >= before.Cost)
                return;
        }
    }

    /// <summary>Tries every pair that could be cheaper than the best; false where the budget ended first.</summary>
    private bool Enumerate(double leastHeads, double leastLeaves)
    {
        double limit = _best?.Cost ?? double.PositiveInfinity, leastRows = _rows.Unbound.Cost;
        List<Split> heads = _heads.All(limit - leastLeaves - leastRows, _budget.Splits, _room, out bool allHeads);
        List<Split> leaves = _leaves.All(limit - leastHeads - leastRows, _budget.Splits, _room, out bool allLeaves);
        bool isComplete = allHeads && allLeaves;
        foreach (Split one in heads)
            foreach (Split other in leaves)
            {
                if (_best is { } best && one.Cost + other.Cost + leastRows >= best.Cost)
                    break;
                if (_budget.Pairs-- <= 0)
                    return false;
                isComplete &= Try(one, other);
            }
        return isComplete;
    }

    private double HeadBytes(Split split, int rank) => _headTable.Bytes(split.Boundaries[rank], split.Boundaries[rank + 1]);

    private double LeafBytes(Split split, int rank) => _leafTable.Bytes(split.Boundaries[rank], split.Boundaries[rank + 1]);

    private double[] Left(Func<int, double> taken) => [.. _room.Select((bytes, rank) => bytes - taken(rank))];

    private sealed record Found(Split Heads, Split Leaves, Split Rows, double Cost);
}
