using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>How much one rank owns, as costs see it: what <see cref="ShardPlan"/> says, counted without its schedules.</summary>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">KV heads that these read; one whose group is cut counts on both sides.</param>
/// <param name="Columns">MLP columns.</param>
/// <param name="Rows">Vocabulary rows.</param>
/// <param name="HeadPieces">Pieces it sends in the sum of an attention half.</param>
/// <param name="LeafPieces">Pieces it sends in the sum of an MLP half.</param>
internal readonly record struct RankShare(int Heads, int KvHeads, int Columns, int Rows, int HeadPieces, int LeafPieces)
{
    /// <summary>The shares of all ranks.</summary>
    public static RankShare[] Of(ModelConfig config, Partition partition)
    {
        Leaves leaves = Leaves.OfMlp(config);
        RankShare[] shares = new RankShare[partition.Degree];
        for (int rank = 0; rank < shares.Length; rank++)
        {
            int firstHead = partition.HeadBoundaries[rank], endHead = partition.HeadBoundaries[rank + 1], firstLeaf = partition.LeafBoundaries[rank], endLeaf = partition.LeafBoundaries[rank + 1];
            shares[rank] = new RankShare(
                endHead - firstHead, KvHeadsOf(config, firstHead, endHead), leaves.Start(endLeaf) - leaves.Start(firstLeaf), partition.VocabBoundaries[rank + 1] - partition.VocabBoundaries[rank],
                Pieces(config.Heads, firstHead, endHead), Pieces(leaves.Count, firstLeaf, endLeaf));
        }
        return shares;
    }

    /// <summary>KV heads of a range of query heads.</summary>
    public static int KvHeadsOf(ModelConfig config, int first, int end)
    {
        int group = config.Heads / config.KvHeads;
        return first == end ? 0 : ((end - 1) / group) - (first / group) + 1;
    }

    /// <summary>Maximal subtrees inside a range of leaves, as many as <see cref="SumTree.Pieces"/> lists.</summary>
    public static int Pieces(int leaves, int first, int end)
    {
        return Count(0, leaves);

        int Count(int low, int high)
        {
            if (high <= first || low >= end)
                return 0;
            if (low >= first && high <= end)
                return 1;
            int middle = SumTree.Middle(low, high);
            return Count(low, middle) + Count(middle, high);
        }
    }
}
