namespace TpServe.Sharding;

/// <summary>Divides whole items among ranks in proportion to weights.</summary>
/// <remarks>
/// Every rank gets its exact quota rounded down or up, by largest remainder. Where remainders tie, boundaries that satisfy a preference win, then
/// boundaries at large subtrees of the canonical tree (fewer pieces to send), then larger shares first.
/// </remarks>
internal static class Apportionment
{
    /// <summary>weights.Count + 1 ascending boundaries from 0 to <paramref name="items"/>.</summary>
    public static int[] Boundaries(int items, IReadOnlyList<double> weights, Func<int, bool> preferred)
    {
        int ranks = weights.Count;
        double total = weights.Sum();
        int[] floor = new int[ranks];
        double[] remainder = new double[ranks];
        for (int rank = 0; rank < ranks; rank++)
        {
            double quota = items * weights[rank] / total;
            floor[rank] = (int)Math.Floor(quota + 1e-9);
            remainder[rank] = Math.Max(0, quota - floor[rank]);
        }
        int extras = items - floor.Sum();

        // best[r, e]: the cheapest way to have given e extras to the first r ranks. Rounding up a small remainder costs most by far.
        double[,] best = new double[ranks + 1, extras + 1];
        bool[,] roundedUp = new bool[ranks + 1, extras + 1];
        for (int rank = 0; rank <= ranks; rank++)
            for (int e = 0; e <= extras; e++)
                best[rank, e] = double.PositiveInfinity;
        best[0, 0] = 0;
        int floorSum = 0;
        for (int rank = 0; rank < ranks; rank++)
        {
            floorSum += floor[rank];
            for (int e = 0; e <= extras; e++)
                for (int up = 0; up <= 1 && up <= e; up++)
                {
                    if (up == 1 && weights[rank] == 0)
                        continue;
                    double cost = best[rank, e - up] + BoundaryCost(floorSum + e, items, preferred);
                    if (up == 1)
                        cost += (1 - Math.Round(remainder[rank], 6)) * 1e6 + rank * 1e-6;
                    if (cost < best[rank + 1, e])
                    {
                        best[rank + 1, e] = cost;
                        roundedUp[rank + 1, e] = up == 1;
                    }
                }
        }

        int[] boundaries = new int[ranks + 1];
        boundaries[ranks] = items;
        for (int rank = ranks, e = extras; rank > 0; rank--)
        {
            int up = roundedUp[rank, e] ? 1 : 0;
            boundaries[rank - 1] = boundaries[rank] - floor[rank - 1] - up;
            e -= up;
        }
        return boundaries;
    }

    /// <summary>How little a boundary is liked: at preferred ones and at large subtrees least.</summary>
    public static double BoundaryCost(int boundary, int items, Func<int, bool> preferred)
    {
        if (boundary == 0 || boundary >= items)
            return 0;
        return (preferred(boundary) ? 0 : 1) + Depth(boundary, items) * 1e-3;
    }

    /// <summary>How deep in the canonical tree the split at <paramref name="boundary"/> lies: 0 = the root's.</summary>
    private static int Depth(int boundary, int items)
    {
        int low = 0, high = items, depth = 0;
        while (high - low >= 2)
        {
            int middle = SumTree.Middle(low, high);
            if (middle == boundary)
                return depth;
            if (boundary < middle)
                high = middle;
            else
                low = middle;
            depth++;
        }
        return depth;
    }
}
