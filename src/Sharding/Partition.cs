using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>Which query heads, MLP leaves and vocabulary rows each rank owns: contiguous, in rank order, possibly uneven or empty.</summary>
/// <remarks>Each list holds degree + 1 ascending numbers; rank r owns [list[r], list[r + 1]).</remarks>
public sealed record Partition(IReadOnlyList<int> HeadBoundaries, IReadOnlyList<int> LeafBoundaries, IReadOnlyList<int> VocabBoundaries)
{
    /// <summary>The highest tensor-parallel degree.</summary>
    public const int MaxDegree = 64;

    /// <summary>Number of ranks.</summary>
    public int Degree => HeadBoundaries.Count - 1;

    /// <summary>Shares as equal as whole heads, leaves and rows allow.</summary>
    /// <exception cref="ShardingException">The degree is not in 1..<see cref="MaxDegree"/>.</exception>
    public static Partition Even(ModelConfig config, int degree)
    {
        CheckDegree(degree);
        return Weighted(config, [.. Enumerable.Repeat(1.0, degree)]);
    }

    /// <summary>Shares in proportion to the weights, one a rank.</summary>
    /// <exception cref="ShardingException">No weight, too many, a negative one, or none above zero.</exception>
    public static Partition Weighted(ModelConfig config, IReadOnlyList<double> weights)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        CheckDegree(weights.Count);
        foreach (double weight in weights)
            if (!double.IsFinite(weight) || weight < 0)
                throw new ShardingException($"partition weight {weight} is not a finite number ≥ 0.");
        if (weights.Sum() <= 0)
            throw new ShardingException("the partition weights are all 0; at least one rank must own something.");

        int groupSize = config.Heads / config.KvHeads;
        int leaves = Leaves.OfMlp(config).Count;
        int unit = VocabUnit(config.Vocab, weights.Count);
        int units = (config.Vocab + unit - 1) / unit;
        return new Partition(
            Apportionment.Boundaries(config.Heads, weights, boundary => boundary % groupSize == 0),
            Apportionment.Boundaries(leaves, weights, _ => true),
            [.. Apportionment.Boundaries(units, weights, _ => true).Select(boundary => Math.Min(boundary * unit, config.Vocab))]);
    }

    /// <summary>Rows of the head are cut at whole vector panels where the vocabulary is large enough not to feel it.</summary>
    internal static int VocabUnit(int vocab, int degree) => vocab / degree >= 1024 ? 64 : 1;

    /// <summary>Checks boundaries that came from elsewhere against a model.</summary>
    /// <exception cref="ShardingException">Wrong count, not ascending, or not covering the model.</exception>
    public void CheckAgainst(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        CheckDegree(Degree);
        Check("query heads", HeadBoundaries, config.Heads);
        Check("MLP leaves", LeafBoundaries, Leaves.OfMlp(config).Count);
        Check("vocabulary rows", VocabBoundaries, config.Vocab);

        void Check(string what, IReadOnlyList<int> boundaries, int total)
        {
            if (boundaries.Count != Degree + 1 || boundaries[0] != 0 || boundaries[^1] != total)
                throw new ShardingException($"{what}: boundaries {string.Join(",", boundaries)} do not cover 0..{total} for {Degree} ranks.");
            for (int rank = 0; rank < Degree; rank++)
                if (boundaries[rank + 1] < boundaries[rank])
                    throw new ShardingException($"{what}: boundaries {string.Join(",", boundaries)} do not ascend.");
        }
    }

    private static void CheckDegree(int degree)
    {
        if (degree is < 1 or > MaxDegree)
            throw new ShardingException($"tensor parallel degree {degree} is not in 1..{MaxDegree}.");
    }
}

/// <summary>A model cannot be split as asked: the process ends at start. The message names the thing, the value and the limit.</summary>
public sealed class ShardingException(string message) : Exception(message);
