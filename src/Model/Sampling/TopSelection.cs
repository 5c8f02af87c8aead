namespace TpServe.Model.Sampling;

/// <summary>The k best of a row, in order, without sorting the row. Keeps its memory between uses.</summary>
internal sealed class TopSelection
{
    private ulong[] _keys = [];

    /// <summary>The keys (<see cref="LogitKey"/>) of the k likeliest tokens, best first; all tokens where there are fewer. Valid until the next call.</summary>
    public ReadOnlySpan<ulong> Of(ReadOnlySpan<float> logits, int k)
    {
        k = Math.Min(k, logits.Length);
        if (k <= 0)
            return [];
        if (_keys.Length < k)
            _keys = new ulong[Math.Max(k, 64)];
        Span<ulong> heap = _keys.AsSpan(0, k); // a heap whose root is the worst of the best so far
        int count = 0;
        float worst = float.NegativeInfinity;
        for (int id = 0; id < logits.Length; id++)
        {
            if (count == k && !(logits[id] > worst)) // ids ascend, so an equal logit loses
                continue;
            ulong key = LogitKey.Of(logits[id], id);
            if (count < k)
            {
                SiftUp(heap, count++, key);
            }
            else if (key < heap[0])
            {
                SiftDown(heap, key);
            }
            if (count == k)
                worst = LogitKey.Logit(heap[0]);
        }
        heap.Sort();
        return heap;
    }

    private static void SiftUp(Span<ulong> heap, int at, ulong key)
    {
        while (at > 0 && heap[(at - 1) / 2] < key)
        {
            heap[at] = heap[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        heap[at] = key;
    }

    private static void SiftDown(Span<ulong> heap, ulong key)
    {
        int at = 0;
        for (int child = 1; child < heap.Length; child = 2 * at + 1)
        {
            if (child + 1 < heap.Length && heap[child + 1] > heap[child])
                child++;
            if (heap[child] <= key)
                break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = key;
    }
}
