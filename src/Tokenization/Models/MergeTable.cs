using System.Buffers;

namespace TpServe.Tokenization.Models;

/// <summary>The merges of byte-pair encoding: two neighbouring tokens become one, the earliest merge of the table first, then the leftmost.</summary>
/// <remarks>
/// A long text (some models know no words) is cut first wherever no merge can ever join: between two first symbols that no merge has at its seam.
/// Cost     short words by scanning (quadratic in at most <see cref="ShortWord"/> symbols), long ones with a heap: n log n.
/// Source   Sennrich, Haddow and Birch 2016.
/// </remarks>
/// <param name="merges">By <see cref="Key"/> of both sides.</param>
/// <param name="seams">Keys of (last symbol of a left side, first symbol of a right side); null = not known.</param>
internal sealed class MergeTable(Dictionary<long, MergeTable.Merge> merges, HashSet<long>? seams)
{
    private const int ShortWord = 40;

    /// <summary>A merge's place in the table, and the token it makes.</summary>
    public readonly record struct Merge(int Rank, int Id);

    private readonly record struct Candidate(int Left, int Right, int LeftId, int RightId, int Id);

    /// <summary>The key of a pair: one to one, and mixed, since a long's own hash is the two halves' exclusive or, which pairs of tokens share a lot.</summary>
    public static long Key(int left, int right) => unchecked((long)((((ulong)(uint)left << 32) | (uint)right) * 0x9E3779B97F4A7C15));

    /// <summary>Merges in place; returns how many symbols remain at the front.</summary>
    public int Apply(Span<int> symbols) => symbols.Length switch
    {
        < 2 => symbols.Length,
        <= ShortWord => ApplyByScan(symbols),
        _ => ApplyToRuns(symbols),
    };

    private int ApplyToRuns(Span<int> symbols)
    {
        int kept = 0;
        int start = 0;
        for (int end = 1; end <= symbols.Length; end++)
        {
            if (end < symbols.Length && (seams is null || seams.Contains(Key(symbols[end - 1], symbols[end]))))
                continue;
            Span<int> run = symbols[start..end];
            int count = run.Length <= ShortWord ? ApplyByScan(run) : ApplyByHeap(run);
            run[..count].CopyTo(symbols[kept..]);
            kept += count;
            start = end;
        }
        return kept;
    }

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
            queue.Enqueue(new(left, right, symbols[left], symbols[right], merge.Id), ((long)merge.Rank << 32) | (uint)left);
    }

    private Merge Find(int left, int right) => merges.TryGetValue(Key(left, right), out Merge merge) ? merge : new(int.MaxValue, -1);
}
