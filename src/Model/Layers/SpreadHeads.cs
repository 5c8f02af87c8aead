using TpServe.Sharding;

namespace TpServe.Model.Layers;

/// <summary>Which heads of a layer a rank holds, and for which of its KV heads it speaks.</summary>
public sealed record SpreadHeads
{
    /// <summary>The heads of a rank by its plan.</summary>
    public SpreadHeads(ShardPlan plan, int heads, int kvHeads, int headDim)
    {
        ArgumentNullException.ThrowIfNull(plan);
        (Heads, KvHeads, HeadDim) = (heads, kvHeads, headDim);
        (FirstHead, LocalHeads, FirstKvHead) = (plan.FirstHead, plan.LocalHeads, plan.FirstKvHead);

        // Only the first of the rank's KV heads can also live on a lower rank: head ranges are contiguous.
        int end = plan.FirstKvHead + plan.LocalKvHeads;
        FirstSentKvHead = plan.FirstKvHead;
        while (FirstSentKvHead < end && !plan.OwnsKvHeadFirst(FirstSentKvHead))
            FirstSentKvHead++;
        SentKvHeads = end - FirstSentKvHead;
    }

    /// <summary>Query heads of the layer.</summary>
    public int Heads { get; }

    /// <summary>KV heads of the layer.</summary>
    public int KvHeads { get; }

    /// <summary>Elements of a head.</summary>
    public int HeadDim { get; }

    /// <summary>First query head of the rank.</summary>
    public int FirstHead { get; }

    /// <summary>Query heads of the rank.</summary>
    public int LocalHeads { get; }

    /// <summary>First KV head of the rank.</summary>
    public int FirstKvHead { get; }

    /// <summary>First KV head that no lower rank holds.</summary>
    public int FirstSentKvHead { get; }

    /// <summary>KV heads that no lower rank holds.</summary>
    public int SentKvHeads { get; }
}
