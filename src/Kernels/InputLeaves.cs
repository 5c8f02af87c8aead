namespace TpServe.Kernels;

/// <summary>How the input features of a linear layer are cut, and how the leaves' partial sums are merged into pieces.</summary>
/// <remarks>
/// Boundaries hold leaf count + 1 ascending columns of the file's row; leaf i covers [Boundaries[i], Boundaries[i + 1]).
/// Merges[i] says how often the two topmost partial sums of the stack are added (lower + upper) after leaf i was pushed; what is left on
/// the stack at the end are the pieces, in leaf order.
/// Numerics a leaf is accumulated in float32 in one fixed order that does not depend on rows, threads or rank.
/// </remarks>
public sealed class InputLeaves
{
    /// <summary>Leaves from their boundaries and merge schedule.</summary>
    /// <exception cref="ArgumentException">Boundaries do not ascend, or the schedule merges more than was pushed.</exception>
    public InputLeaves(IReadOnlyList<int> boundaries, IReadOnlyList<int> merges)
    {
        ArgumentNullException.ThrowIfNull(boundaries);
        ArgumentNullException.ThrowIfNull(merges);
        if (boundaries.Count != merges.Count + 1 || merges.Count == 0)
            throw new ArgumentException($"{boundaries.Count} boundaries do not enclose {merges.Count} leaves.");
        int depth = 0;
        for (int i = 0; i < merges.Count; i++)
        {
            if (boundaries[i + 1] <= boundaries[i])
                throw new ArgumentException($"Leaf {i} covers [{boundaries[i]}, {boundaries[i + 1]}).");
            depth += 1 - merges[i];
            if (merges[i] < 0 || depth < 1)
                throw new ArgumentException($"After leaf {i} the schedule merges {merges[i]} times, more than were pushed.");
        }
        Boundaries = [.. boundaries];
        Merges = [.. merges];
        Pieces = depth;
    }

    /// <summary>Leaf count + 1 ascending columns in the file's row.</summary>
    public int[] Boundaries { get; }

    /// <summary>Merges after each leaf.</summary>
    public int[] Merges { get; }

    /// <summary>Partial sums left after the last leaf.</summary>
    public int Pieces { get; }

    /// <summary>Number of leaves.</summary>
    public int Count => Merges.Length;

    /// <summary>Input features covered: the columns of the activation.</summary>
    public int Columns => Boundaries[^1] - Boundaries[0];

    /// <summary>The whole row as one leaf: what column-parallel layers use.</summary>
    public static InputLeaves Whole(int columns) => new([0, columns], [0]);
}
