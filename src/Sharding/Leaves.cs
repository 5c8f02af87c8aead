using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>How the input features of a row-parallel layer are cut into leaves: from the model alone, never from the degree.</summary>
/// <param name="Size">Input features of a leaf; the last one may be shorter.</param>
/// <param name="Total">Input features of the layer.</param>
public sealed record Leaves(int Size, int Total)
{
    /// <summary>Number of leaves.</summary>
    public int Count => (Total + Size - 1) / Size;

    /// <summary>First input feature of leaf <paramref name="leaf"/>; for leaf = Count, the number of features.</summary>
    public int Start(int leaf) => Math.Min(leaf * Size, Total);

    /// <summary>The attention output projection: one leaf for each query head.</summary>
    public static Leaves OfHeads(ModelConfig config) => new(config.ValueDim, config.Heads * config.ValueDim);

    /// <summary>The MLP's down projection, or that of one expert where there are mixtures: intermediate / 32 features, rounded up to a multiple of 32 and held within 64..256.</summary>
    public static Leaves OfMlp(ModelConfig config) => OfWidth(config.MlpColumns);

    /// <summary>The down projection of layers that are no mixture.</summary>
    public static Leaves OfDense(ModelConfig config) => OfWidth(config.Intermediate);

    /// <summary>The MLP beside the experts: as many leaves as an expert has, or fewer, for leaf by leaf it is added to theirs.</summary>
    public static Leaves OfShared(ModelConfig config)
    {
        int width = config.Experts?.SharedIntermediate ?? 0, leaves = OfMlp(config).Count;
        return new Leaves(Math.Max(32, ((width + leaves - 1) / leaves + 31) / 32 * 32), width);
    }

    private static Leaves OfWidth(int width) => new(Math.Clamp((width + 1023) / 1024 * 32, 64, 256), width);
}

/// <summary>One rank's part of a canonical sum: its leaves, its merge schedule, and how everyone finishes the tree from all ranks' pieces.</summary>
public sealed class LeafShare
{
    /// <summary>The share of <paramref name="rank"/> when rank r owns the leaves [boundaries[r], boundaries[r + 1]).</summary>
    public LeafShare(Leaves leaves, IReadOnlyList<int> boundaries, int rank)
    {
        ArgumentNullException.ThrowIfNull(leaves);
        ArgumentNullException.ThrowIfNull(boundaries);
        Rank = rank;
        First = boundaries[rank];
        End = boundaries[rank + 1];
        Merges = SumTree.MergesWithin(leaves.Count, First, End);
        Boundaries = new int[End - First + 1];
        for (int leaf = First; leaf <= End; leaf++)
            Boundaries[leaf - First] = leaves.Start(leaf);
        PiecesOfRank = new int[boundaries.Count - 1];
        for (int r = 0; r < PiecesOfRank.Length; r++)
            PiecesOfRank[r] = SumTree.Pieces(leaves.Count, boundaries[r], boundaries[r + 1]).Count;
        FinishingMerges = SumTree.FinishingMerges(leaves.Count, boundaries);
    }

    /// <summary>Whose share it is.</summary>
    public int Rank { get; }

    /// <summary>First leaf owned.</summary>
    public int First { get; }

    /// <summary>One past the last leaf owned; equal to <see cref="First"/> where the rank owns none.</summary>
    public int End { get; }

    /// <summary>Leaves owned.</summary>
    public int Count => End - First;

    /// <summary>Input features at which the owned leaves begin, and where the last one ends; Count + 1 numbers.</summary>
    public int[] Boundaries { get; }

    /// <summary>Input features owned.</summary>
    public int Columns => Boundaries[^1] - Boundaries[0];

    /// <summary>For each owned leaf, the merges that follow it (<see cref="SumTree.MergesWithin"/>).</summary>
    public int[] Merges { get; }

    /// <summary>Pieces this rank contributes; 0 where it owns no leaf.</summary>
    public int Pieces => PiecesOfRank[Rank];

    /// <summary>Pieces of every rank, in rank order, which is leaf order.</summary>
    public int[] PiecesOfRank { get; }

    /// <summary>For each piece of all ranks, the merges that follow it (<see cref="SumTree.FinishingMerges"/>).</summary>
    public int[] FinishingMerges { get; }
}
