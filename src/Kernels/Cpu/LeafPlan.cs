namespace TpServe.Kernels.Cpu;

/// <summary>Which 32-blocks of the file's row every leaf visits, and which of the block's inputs belong to it.</summary>
/// <remarks>
/// Blocks are counted from column 0 of the file's row, whoever owns it. A leaf that begins or ends inside a block visits the whole block
/// with zeros for the inputs outside; so a block that two leaves share is visited twice, and a leaf's bits do not depend on its neighbours
/// or on the rank that holds it.
/// </remarks>
internal sealed class LeafPlan
{
    /// <summary>The plan of a rank's leaves.</summary>
    public LeafPlan(InputLeaves leaves)
    {
        Leaves = leaves;
        List<BlockVisit> visits = [];
        FirstVisits = new int[leaves.Count + 1];
        int depth = 0;
        for (int leaf = 0; leaf < leaves.Count; leaf++)
        {
            int from = leaves.Boundaries[leaf], to = leaves.Boundaries[leaf + 1];
            for (int block = from / 32; block * 32 < to; block++)
            {
                int start = Math.Max(from, block * 32), end = Math.Min(to, (block + 1) * 32);
                visits.Add(new BlockVisit(block, start - leaves.Boundaries[0], start - (block * 32), end - start));
            }
            FirstVisits[leaf + 1] = visits.Count;
            depth++;
            MostSums = Math.Max(MostSums, depth);
            depth -= leaves.Merges[leaf];
        }
        Visits = [.. visits];
        VisitsEachBlockOnce = visits.Select((visit, i) => visit.Column == 32 * i && visit.Count == 32).All(fits => fits);
    }

    /// <summary>The leaves planned.</summary>
    public InputLeaves Leaves { get; }

    /// <summary>All visits, leaf by leaf.</summary>
    public BlockVisit[] Visits { get; }

    /// <summary>Index of each leaf's first visit, and the number of visits.</summary>
    public int[] FirstVisits { get; }

    /// <summary>Largest number of partial sums on the merge stack.</summary>
    public int MostSums { get; }

    /// <summary>True where visit i is columns 32 · i to 32 · i + 31.</summary>
    public bool VisitsEachBlockOnce { get; }

    /// <summary>True where the two cut the same columns alike, so that one activation tile serves both.</summary>
    public bool VisitsLike(LeafPlan other) => ReferenceEquals(this, other) || Visits.AsSpan().SequenceEqual(other.Visits);
}

/// <summary>One leaf's visit of one block.</summary>
/// <param name="Block">32-block of the file's row.</param>
/// <param name="Column">Column of the activation that holds the first input.</param>
/// <param name="Lead">Zeros before it in the block.</param>
/// <param name="Count">Inputs of the block that belong to the leaf.</param>
internal readonly record struct BlockVisit(int Block, int Column, int Lead, int Count);
