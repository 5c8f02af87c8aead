using System.Buffers;

namespace TpServe.Gateway.Tokenization.Models;

/// <summary>The merges of byte-pair encoding: two neighbouring tokens become one, the earliest merge of the table first, then the leftmost.</summary>
/// <remarks>
/// Cost     short words by scanning (quadratic in at most <see cref="ShortWord"/> symbols), long ones with a heap: n log n.
/// Source   Sennrich, Haddow and Birch 2016.
/// </remarks>
internal sealed class MergeTable(Dictionary<long, MergeTable.Merge> merges)
{
    private const int ShortWord = 40;

    /// <summary>A merge's place in the table, and the token it makes.</summary>
    public readonly record struct Merge(int Rank, int Id);

    private readonly record struct Candidate(int Left, int Right, int LeftId, int RightId, int Id);

    public static long Key(int left, int right) => ((long)left << 32) | (uint)right;

    /// <summary>Merges in place; returns how many symbols remain at the front.</summary>
    public int Apply(Span<int> symbols) => symbols.Length switch
    {
        < 2 => symbols.Length,
        <= ShortWord => ApplyByScan(symbols),
        _ => ApplyByHeap(symbols),
    };

    private int ApplyByScan(Span<int> symbols)
    {
        Span<Merge> pairs = stackalloc Merge[ShortWord];
        int count = symbols.Length;
        for (int i = 0; i + 1 < count; i++)
            pairs[i] = Find(symbols[i], symbols[i + 1]);
        while (true)
        {
            int best = -1;
            int bestRank = int.MaxValue;
            for (int i = 0; i + 1 < count; i++)
            {
                if (pairs[i].Rank < bestRank)
                {
                    bestRank = pairs[i].Rank;
                    best = i;
                }
            }
            if (best < 0)
                return count;
            symbols[best] = pairs[best].Id;
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            pairs[(best + 1)..(count - 1)].CopyTo(pairs[best..]);
            count--;
            if (best > 0)
                pairs[best - 1] = Find(symbols[best - 1], symbols[best]);
            if (best + 1 < count)
                pairs[best] = Find(symbols[best], symbols[best + 1]);
        }
    }

    // Symbols are a doubly linked list over the original positions; a candidate is stale once either side has changed.
    private int ApplyByHeap(Span<int> symbols)
    {
        int count = symbols.Length;
        int[] previous = ArrayPool<int>.Shared.Rent(count);
        int[] next = ArrayPool<int>.Shared.Rent(count);
        PriorityQueue<Candidate, long> queue = new();
        for (int i = 0; i < count; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1 < count ? i + 1 : -1;
            if (i + 1 < count)
                Offer(queue, symbols, i, i + 1);
        }
        while (queue.TryDequeue(out Candidate merge, out _))
        {
            if (symbols[merge.Left] != merge.LeftId || next[merge.Left] != merge.Right || symbols[merge.Right] != merge.RightId)
                continue;
            symbols[merge.Left] = merge.Id;
            symbols[merge.Right] = -1;
            int after = next[merge.Right];
            next[merge.Left] = after;
            next[merge.Right] = -1;
            if (after >= 0)
            {
                previous[after] = merge.Left;
                Offer(queue, symbols, merge.Left, after);
            }
            if (previous[merge.Left] >= 0)
                Offer(queue, symbols, previous[merge.Left], merge.Left);
        }
        int kept = 0;
        for (int i = 0; i >= 0; i = next[i])
            symbols[kept++] = symbols[i];
        ArrayPool<int>.Shared.Return(previous);
        ArrayPool<int>.Shared.Return(next);
        return kept;
    }

    private void Offer(PriorityQueue<Candidate, long> queue, Span<int> symbols, int left, int right)
    {
        Merge merge = Find(symbols[left], symbols[right]);
        if (merge.Rank != int.MaxValue)
            queue.Enqueue(new(left, right, symbols[left], symbols[right], merge.Id), Key(merge.Rank, left));
    }

    private Merge Find(int left, int right) => merges.TryGetValue(Key(left, right), out Merge merge) ? merge : new(int.MaxValue, -1);
}
