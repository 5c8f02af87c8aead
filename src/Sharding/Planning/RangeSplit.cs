namespace TpServe.Sharding.Planning;

/// <summary>Boundaries of one segment over the ranks of a group, and what they cost.</summary>
/// <param name="Boundaries">Degree + 1 ascending numbers.</param>
/// <param name="Cost">max prefill + max decode + Σ pieces, prices included where there were any.</param>
internal sealed record Split(int[] Boundaries, double Cost);

/// <summary>Finds the splits of one segment that minimise max over ranks of prefill + max over ranks of decode + Σ over ranks of what their pieces cost.</summary>
/// <remarks>
/// The two maxima make the cost no sum over ranks, so that a partial split is kept unless another one is no worse in both and in the sum (a Pareto front at
/// each rank and boundary). Fronts stay short: a maximum below what the ranks to come need at least is raised to that, and what cannot beat a known split goes.
/// Source   the labels of multi-criteria shortest paths, Martins 1984.
/// </remarks>
/// <param name="table">Costs of ranges.</param>
/// <param name="chosen">The device of each rank.</param>
/// <param name="pieceSeconds">By rank, for each piece.</param>
internal sealed class RangeSplit(RangeTable table, IReadOnlyList<int> chosen, double[] pieceSeconds)
{
    // Costs that differ by less are equal: what is left is rounding.
    private const double Equal = 1e-13;

    /// <summary>Labels of a front in an exact search: more than it ever has, unless costs are contrived.</summary>
    public const int MostLabels = 256;

    private readonly int _ranks = chosen.Count, _units = table.Units, _stride = table.Units + 1;
    private readonly double[] _prefillToCome = new double[(chosen.Count + 1) * (table.Units + 1)];
    private readonly double[] _decodeToCome = new double[(chosen.Count + 1) * (table.Units + 1)];
    private readonly double[] _bothToCome = new double[(chosen.Count + 1) * (table.Units + 1)];
    private readonly double[] _sumToCome = new double[(chosen.Count + 1) * (table.Units + 1)];
    private readonly double[] _noPrices = new double[chosen.Count];

    /// <summary>Whether the last search dropped labels, so that its split is good but not shown to be the best.</summary>
    public bool IsCut { get; private set; }

    /// <summary>The cheapest split; of equal ones that at KV groups and large subtrees, then the most even. Null = none keeps to the room.</summary>
    /// <param name="prices">By rank, for each byte it holds; null = none.</param>
    /// <param name="room">By rank, most bytes it may hold; null = any.</param>
    /// <param name="labels">Longest front; with fewer the split is good and soon found.</param>
    public Split? Best(double[]? prices = null, double[]? room = null, int labels = MostLabels)
    {
        double[] price = prices ?? _noPrices;
        LookAhead(price, room);
        if (double.IsPositiveInfinity(_bothToCome[0]))
            return null;
        double limit = CostOf(Descend(price, room), price);
        int[] even = [.. Enumerable.Range(0, _ranks + 1).Select(EvenBoundary)];
        if (HasRoom(even, room))
            limit = Math.Min(limit, CostOf(even, price));
        double equal = Equal * Math.Abs(limit);
        IsCut = false;

        // fronts[rank · stride + boundary]: ways to have given the units below the boundary to the ranks below.
        List<Label>[] fronts = new List<Label>[(_ranks + 1) * _stride];
        fronts[0] = [new Label(0, 0, 0, 0, -1, -1)];
        for (int rank = 0; rank < _ranks; rank++)
            for (int first = 0; first <= _units; first++)
            {
                if (fronts[(rank * _stride) + first] is not { } here)
                    continue;
                for (int end = rank + 1 == _ranks ? _units : first; end <= _units; end++)
                {
                    int next = ((rank + 1) * _stride) + end;
                    double prefill = table.Prefill(chosen[rank], first, end), decode = table.Decode(chosen[rank], first, end);
                    if (prefill + decode > limit + equal)
                        break; // and larger ranges cost more
                    double bytes = table.Bytes(first, end);
                    if ((room is not null && bytes > room[rank]) || double.IsPositiveInfinity(_bothToCome[next]))
                        continue;
                    double own = (pieceSeconds[rank] * table.Pieces(first, end)) + (price[rank] * bytes);
                    double dislike = rank + 1 == _ranks ? 0 : table.Preference(end) + (1e-6 * Math.Abs(end - EvenBoundary(rank + 1)) / _units);
                    for (int from = 0; from < here.Count; from++)
                    {
                        Label label = here[from];
                        double maxPrefill = Math.Max(Math.Max(label.Prefill, prefill), _prefillToCome[next]), maxDecode = Math.Max(Math.Max(label.Decode, decode), _decodeToCome[next]);
                        double sum = label.Sum + own;
                        if (maxPrefill + maxDecode + sum + _sumToCome[next] <= limit + equal)
                            Add(fronts[next] ??= [], new Label(maxPrefill, maxDecode, sum, label.Dislike + dislike, first, from), equal, labels);
                    }
                }
            }

        if (fronts[(_ranks * _stride) + _units] is not { Count: > 0 } ends)
            return null;
        int best = 0;
        for (int i = 1; i < ends.Count; i++)
            if (ends[i].Cost < ends[best].Cost - equal || (ends[i].Cost <= ends[best].Cost + equal && ends[i].Dislike < ends[best].Dislike))
                best = i;
        int[] boundaries = new int[_ranks + 1];
        boundaries[_ranks] = _units;
        for (int rank = _ranks, at = best; rank > 0; rank--)
        {
            Label label = fronts[(rank * _stride) + boundaries[rank]][at];
            (boundaries[rank - 1], at) = (label.First, label.From);
        }
        return new Split(boundaries, CostOf(boundaries, price));
    }

    /// <summary>Every split that keeps to the room and costs less than a limit, cheapest first.</summary>
    /// <param name="limit">Costs below this are wanted.</param>
    /// <param name="most">So many at most.</param>
    /// <param name="room">By rank, most bytes it may hold.</param>
    /// <param name="isComplete">Whether these are all.</param>
    public List<Split> All(double limit, int most, double[] room, out bool isComplete)
    {
        LookAhead(_noPrices, room);
        List<Split> found = [];
        int[] boundaries = new int[_ranks + 1];
        int visits = 0, mostVisits = 64 * most;
        isComplete = Visit(0, 0, 0, 0);
        found.Sort((left, right) => left.Cost.CompareTo(right.Cost));
        return found;

        bool Visit(int rank, double prefill, double decode, double sum)
        {
            int first = boundaries[rank];
            if (rank == _ranks)
            {
                found.Add(new Split([.. boundaries], prefill + decode + sum));
                return found.Count < most;
            }
            for (int end = rank + 1 == _ranks ? _units : first; end <= _units; end++)
            {
                if (++visits > mostVisits)
                    return false;
                int next = ((rank + 1) * _stride) + end;
                if (table.Bytes(first, end) > room[rank])
                    break;
                double maxPrefill = Math.Max(prefill, table.Prefill(chosen[rank], first, end)), maxDecode = Math.Max(decode, table.Decode(chosen[rank], first, end));
                double nextSum = sum + (pieceSeconds[rank] * table.Pieces(first, end));
                if (double.IsPositiveInfinity(_bothToCome[next])
                    || Math.Max(maxPrefill, _prefillToCome[next]) + Math.Max(maxDecode, _decodeToCome[next]) + nextSum + _sumToCome[next] >= limit)
                    continue;
                boundaries[rank + 1] = end;
                if (!Visit(rank + 1, maxPrefill, maxDecode, nextSum))
                    return false;
            }
            return true;
        }
    }

    /// <summary>What a split costs.</summary>
    public double CostOf(IReadOnlyList<int> boundaries, double[]? prices = null)
    {
        double prefill = 0, decode = 0, sum = 0;
        for (int rank = 0; rank < _ranks; rank++)
        {
            int first = boundaries[rank], end = boundaries[rank + 1];
            prefill = Math.Max(prefill, table.Prefill(chosen[rank], first, end));
            decode = Math.Max(decode, table.Decode(chosen[rank], first, end));
            sum += (pieceSeconds[rank] * table.Pieces(first, end)) + ((prices?[rank] ?? 0) * table.Bytes(first, end));
        }
        return prefill + decode + sum;
    }

    /// <summary>Bytes of each rank.</summary>
    public double[] BytesOf(IReadOnlyList<int> boundaries) => [.. Enumerable.Range(0, _ranks).Select(rank => table.Bytes(boundaries[rank], boundaries[rank + 1]))];

    private int EvenBoundary(int rank) => (int)Math.Round((double)_units * rank / _ranks, MidpointRounding.AwayFromZero);

    private bool HasRoom(int[] boundaries, double[]? room) =>
        room is null || Enumerable.Range(0, _ranks).All(rank => table.Bytes(boundaries[rank], boundaries[rank + 1]) <= room[rank]);

    /// <summary>For every rank and boundary the least that the ranks from there on need, each criterion by itself; infinite where they have no room.</summary>
    private void LookAhead(double[] price, double[]? room)
    {
        int last = _ranks * _stride;
        foreach (double[] toCome in new[] { _prefillToCome, _decodeToCome, _bothToCome, _sumToCome })
        {
            Array.Fill(toCome, double.PositiveInfinity);
            toCome[last + _units] = 0;
        }
        for (int rank = _ranks - 1; rank >= 0; rank--)
            for (int first = 0; first <= _units; first++)
            {
                int here = (rank * _stride) + first;
                for (int end = rank + 1 == _ranks ? _units : first; end <= _units; end++)
                {
                    int next = ((rank + 1) * _stride) + end;
                    double bytes = table.Bytes(first, end);
                    if (room is not null && bytes > room[rank])
                        break;
                    double prefill = table.Prefill(chosen[rank], first, end), decode = table.Decode(chosen[rank], first, end);
                    _prefillToCome[here] = Math.Min(_prefillToCome[here], Math.Max(prefill, _prefillToCome[next]));
                    _decodeToCome[here] = Math.Min(_decodeToCome[here], Math.Max(decode, _decodeToCome[next]));
                    _bothToCome[here] = Math.Min(_bothToCome[here], Math.Max(prefill + decode, _bothToCome[next]));
                    _sumToCome[here] = Math.Min(_sumToCome[here], (pieceSeconds[rank] * table.Pieces(first, end)) + (price[rank] * bytes) + _sumToCome[next]);
                }
            }
    }

    /// <summary>The split that balances prefill and decode together: good, and at once to be had.</summary>
    private int[] Descend(double[] price, double[]? room)
    {
        int[] boundaries = new int[_ranks + 1];
        for (int rank = 0; rank < _ranks; rank++)
        {
            int first = boundaries[rank], best = -1;
            double least = double.PositiveInfinity, leastSum = double.PositiveInfinity;
            for (int end = rank + 1 == _ranks ? _units : first; end <= _units; end++)
            {
                double bytes = table.Bytes(first, end);
                if (room is not null && bytes > room[rank])
                    break;
                double both = Math.Max(table.Prefill(chosen[rank], first, end) + table.Decode(chosen[rank], first, end), _bothToCome[((rank + 1) * _stride) + end]);
                double sum = (pieceSeconds[rank] * table.Pieces(first, end)) + (price[rank] * bytes) + _sumToCome[((rank + 1) * _stride) + end];
                if (both < least || (both == least && sum < leastSum))
                    (least, leastSum, best) = (both, sum, end);
            }
            boundaries[rank + 1] = best;
        }
        return boundaries;
    }

    private void Add(List<Label> front, Label label, double equal, int most)
    {
        foreach (Label other in front)
            if (NoWorse(other, label, equal))
                return;
        front.RemoveAll(other => NoWorse(label, other, equal));
        if (front.Count >= most)
        {
            IsCut = true;
            int worst = 0;
            for (int i = 1; i < front.Count; i++)
                if (front[i].Cost > front[worst].Cost)
                    worst = i;
            if (front[worst].Cost <= label.Cost)
                return;
            front.RemoveAt(worst);
        }
        front.Add(label);
    }

    private static bool NoWorse(in Label left, in Label right, double equal) =>
        left.Prefill <= right.Prefill + equal && left.Decode <= right.Decode + equal
        && (left.Sum < right.Sum - equal || (left.Sum <= right.Sum + equal && left.Dislike <= right.Dislike));

    /// <summary>A partial split: the maxima and the sum so far, how little it is liked, and where it came from.</summary>
    private readonly record struct Label(double Prefill, double Decode, double Sum, double Dislike, int First, int From)
    {
        public double Cost => Prefill + Decode + Sum;
    }
}
