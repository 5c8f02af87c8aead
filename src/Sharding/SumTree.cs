namespace TpServe.Sharding;

/// <summary>The canonical order in which the partial sums of a row-parallel layer are added: one balanced binary tree over the leaves.</summary>
/// <remarks>
/// A node over [low, high) splits at low + ⌈(high − low) / 2⌉: the larger half is the left one. The tree depends on the leaf count alone, so a
/// sum has the same bits whoever computes which part of it. A rank that owns [first, end) computes the maximal subtrees inside its range (its
/// pieces); whoever has all pieces, in leaf order, finishes the tree.
/// Numerics float32 sums, always left + right.
/// </remarks>
public static class SumTree
{
    /// <summary>For each leaf of [first, end): how many merges of the two topmost partial sums follow it within the range.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside [0, leaves).</exception>
    public static int[] MergesWithin(int leaves, int first, int end)
    {
        CheckRange(leaves, first, end);
        int[] merges = new int[end - first];
        Count(0, leaves, (low, high) =>
        {
            if (low >= first && high <= end)
                merges[high - 1 - first]++;
        });
        return merges;
    }

    /// <summary>The maximal subtrees inside [first, end), in leaf order, as leaf ranges.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside [0, leaves).</exception>
    public static IReadOnlyList<(int First, int End)> Pieces(int leaves, int first, int end)
    {
        CheckRange(leaves, first, end);
        List<(int, int)> pieces = [];
        Collect(0, leaves);
        return pieces;

        void Collect(int low, int high)
        {
            if (high <= first || low >= end)
                return;
            if (low >= first && high <= end)
            {
                pieces.Add((low, high));
                return;
            }
            int middle = Middle(low, high);
            Collect(low, middle);
            Collect(middle, high);
        }
    }

    /// <summary>For each piece of all ranks in leaf order: how many merges follow it when the whole tree is finished from them.</summary>
    /// <param name="leaves">Leaves of the layer.</param>
    /// <param name="boundaries">Rank r owns the leaves [boundaries[r], boundaries[r + 1]).</param>
    public static int[] FinishingMerges(int leaves, IReadOnlyList<int> boundaries)
    {
        ArgumentNullException.ThrowIfNull(boundaries);
        List<int> ends = [];
        for (int rank = 0; rank + 1 < boundaries.Count; rank++)
            foreach ((int _, int end) in Pieces(leaves, boundaries[rank], boundaries[rank + 1]))
                ends.Add(end);

        // A node is finished after the piece that ends where it ends, unless one rank owned it whole.
        int[] merges = new int[ends.Count];
        Count(0, leaves, (low, high) =>
        {
            for (int rank = 0; rank + 1 < boundaries.Count; rank++)
                if (low >= boundaries[rank] && high <= boundaries[rank + 1])
                    return;
            merges[ends.IndexOf(high)]++;
        });
        return merges;
    }

    /// <summary>Where the node over [low, high) splits.</summary>
    internal static int Middle(int low, int high) => low + (high - low + 1) / 2;

    private static void Count(int low, int high, Action<int, int> innerNode)
    {
        if (high - low < 2)
            return;
        int middle = Middle(low, high);
        Count(low, middle, innerNode);
        Count(middle, high, innerNode);
        innerNode(low, high);
    }

    private static void CheckRange(int leaves, int first, int end)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, leaves);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first, end);
    }
}
