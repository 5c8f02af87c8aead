namespace TpServe.Sharding.Planning;

/// <summary>How much work all searches of one plan may do together: counts, not seconds, so that the same question always has the same answer.</summary>
/// <param name="devices">How many devices there are: beyond eight every search costs more, so there are fewer.</param>
internal sealed class SearchBudget(int devices)
{
    /// <summary>Groups of devices that are searched.</summary>
    public int Groups { get; set; } = 64;

    /// <summary>Rounds of prices, over all groups.</summary>
    public int PriceRounds { get; set; } = Scaled(24, devices);

    /// <summary>Pairs of splits that are looked at, over all groups.</summary>
    public int Pairs { get; set; } = Scaled(200_000, devices);

    /// <summary>Splits of the vocabulary that are searched beside the unbound ones, over all groups.</summary>
    public int RowSplits { get; set; } = Scaled(600, devices);

    /// <summary>Splits of one segment that are listed.</summary>
    public int Splits => 4_000;

    private static int Scaled(int count, int devices) => count * 8 / Math.Max(8, devices);
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
/// 2. Where it has not, prices on each rank's bytes (<see cref="MemoryPrices"/>; Lagrange multipliers) give a lower bound that counts memory, and splits near
///    the limits; those that have room, or get it when the other segments are split within what is left, are kept, and improved one segment at a time.
/// 3. Every pair of a heads split and a leaves split that could still be cheaper is tried, as far as the budget goes: then the best is proven.
/// Source   Geoffrion 1974, Lagrangean relaxation.
/// </remarks>
internal sealed class GroupSearch
{
    private const int MostPolishRounds = 8, MostShiftRounds = 16, FewLabels = 12;
    private const double Equal = 1e-13;

    // The program's prices are those of fractions: whole heads and leaves have room at others, mostly somewhat lower ones.
    private static readonly double[] s_scales = [1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 1.05, 1.1, 1.2, 1.3], s_fewScales = [1, 0.7];

    private readonly CostModel _costs;
    private readonly IReadOnlyList<int> _chosen;
    private readonly double[] _pieceSeconds;
    private readonly RangeTable _headTable, _leafTable;
    private readonly RangeSplit _heads, _leaves;
    private readonly RowSplit _rows;
    private readonly SearchBudget _budget;
    private readonly double[] _room;
    private readonly double _always;
    private readonly bool _isThorough;
    private Found? _best;

    /// <param name="costs">What everything costs.</param>
    /// <param name="heads">Ranges of heads.</param>
    /// <param name="leaves">Ranges of leaves.</param>
    /// <param name="chosen">The device of each rank.</param>
    /// <param name="budget">What is left of it.</param>
    /// <param name="isThorough">False for a group that cannot be the best: any good partition will do.</param>
    public GroupSearch(CostModel costs, RangeTable heads, RangeTable leaves, IReadOnlyList<int> chosen, SearchBudget budget, bool isThorough)
    {
        _isThorough = isThorough;
        CollectiveCosts[] collectives = costs.Collectives(chosen);
        double[] weights = costs.Weights;
        double[] pieces = [.. chosen.Select((_, rank) => (weights[0] * collectives[0].PieceSeconds[rank]) + (weights[1] * collectives[1].PieceSeconds[rank]))];
        (_costs, _chosen, _pieceSeconds, _headTable, _leafTable, _budget) = (costs, chosen, pieces, heads, leaves, budget);
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
        _budget.RowSplits = Math.Max(1, _budget.RowSplits + 1); // every group may have its first
        Try(heads, leaves);
        if (_best is { } free && free.Cost <= bound + (Equal * bound))
            return Outcome(bound, !isCut);

        // 2. Prices on memory.
        double priced = Price(bound, heads, leaves);
        if (_best is null)
            TryRoomiest();
        if (_best is not null)
        {
            Polish();
            if (_isThorough)
                Shift();
        }

        // 3. Whatever could still be cheaper.
        bool isProven = _isThorough && Enumerate(heads.Cost, leaves.Cost) && !isCut;
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

    /// <summary>Splits where each byte has the price that the linear program gives it, and some around that; returns the best lower bound met.</summary>
    private double Price(double bound, Split freeHeads, Split freeLeaves)
    {
        MemoryPrices program = MemoryPrices.Of(_costs, _chosen, _room);
        double[] unit = program.Seconds;
        if (unit.All(price => price == 0))
        {
            // Fractions have room, whole heads and leaves have not: whoever was given too much pays what bytes cost on the mean.
            double mean = bound / _room.Sum();
            unit = [.. _room.Select((room, rank) => HeadBytes(freeHeads, rank) + LeafBytes(freeLeaves, rank) + RowBytes(_rows.Unbound, rank) > room ? mean : 0)];
        }
        bound = Math.Max(bound, program.Bound + (2 * _pieceSeconds.Min()));
        List<Split> allHeads = [], allLeaves = [];
        foreach (double scale in _isThorough ? s_scales : s_fewScales)
        {
            if (_budget.PriceRounds-- <= 0)
                break;
            bool isProgram = scale == 1;
            double[] prices = [.. unit.Select(price => scale * price)];
            int labels = isProgram ? RangeSplit.MostLabels : FewLabels;
            Split heads = _heads.Best(prices, labels: labels)!;
            bool isCut = _heads.IsCut;
            Split leaves = _leaves.Best(prices, labels: labels)!;
            if (isProgram && !isCut && !_leaves.IsCut && ReferenceEquals(unit, program.Seconds))
            {
                double rows = Math.Max(program.RowBound, _rows.Unbound.Cost + (_rows.Units * _rows.UnitBytes * prices.Min()));
                bound = Math.Max(bound, heads.Cost + leaves.Cost + rows - prices.Zip(_room, (price, room) => price * room).Sum());
            }

            // What has room as it is, or once one of the two is split within what the other leaves.
            allHeads.Add(heads);
            allLeaves.Add(leaves);
            if (_leaves.Best(prices, Left(rank => HeadBytes(heads, rank)), FewLabels) is { } otherLeaves)
                allLeaves.Add(otherLeaves);
            if (_heads.Best(prices, Left(rank => LeafBytes(leaves, rank)), FewLabels) is { } otherHeads)
                allHeads.Add(otherHeads);
        }
        foreach (Split heads in allHeads)
            foreach (Split leaves in allLeaves)
                Try(heads, leaves);
        return bound;
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
            if (_heads.Best(prices: null, Left(rank => LeafBytes(before.Leaves, rank) + RowBytes(before.Rows, rank))) is { } heads)
                Try(heads, before.Leaves);
            Found between = _best!;
            if (_leaves.Best(prices: null, Left(rank => HeadBytes(between.Heads, rank) + RowBytes(between.Rows, rank))) is { } leaves)
                Try(between.Heads, leaves);
            if (_best!.Cost >= before.Cost)
                return;
        }
    }

    /// <summary>Moves a boundary of the heads and one of the leaves together, as long as that is cheaper: what one gives up gives the other room.</summary>
    private void Shift()
    {
        for (int round = 0; round < MostShiftRounds; round++)
        {
            Found before = _best!;
            Split[] heads = [before.Heads, .. Moved(before.Heads, [-1, 1])], leaves = [before.Leaves, .. Moved(before.Leaves, [-2, -1, 1, 2])];
            foreach (Split one in heads)
                foreach (Split other in leaves)
                    if (!Try(one, other))
                        return;
            if (_best!.Cost >= before.Cost)
                return;
        }

        static IEnumerable<Split> Moved(Split split, int[] moves)
        {
            for (int boundary = 1; boundary + 1 < split.Boundaries.Length; boundary++)
                foreach (int move in moves)
                {
                    int[] moved = [.. split.Boundaries];
                    moved[boundary] += move;
                    if (moved[boundary] >= moved[boundary - 1] && moved[boundary] <= moved[boundary + 1])
                        yield return new Split(moved, 0);
                }
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

    private double RowBytes(Split split, int rank) => Math.Ceiling((split.Boundaries[rank + 1] - split.Boundaries[rank]) / (double)_rows.Unit) * _rows.UnitBytes;

    private double[] Left(Func<int, double> taken) => [.. _room.Select((bytes, rank) => bytes - taken(rank))];

    private sealed record Found(Split Heads, Split Leaves, Split Rows, double Cost);
}
