namespace TpServe.Model.Sampling;

/// <summary>Σ exp(x / temperature) over the vocabulary by chunks of consecutive tokens: each relative to its own largest, so that whoever holds a whole chunk can add it.</summary>
/// <remarks>
/// Numerics float64. A chunk's sum depends on its own logits alone, and the chunks are added in ascending order: the same bits however the vocabulary is split,
///          whether the chunks came from several ranks or from a whole row. A chunk without finite logits adds nothing.
/// </remarks>
internal static class VocabularyMass
{
    /// <summary>Tokens of a chunk. The last one of a vocabulary has those that are left.</summary>
    public const int ChunkTokens = 256;

    /// <summary>Chunks of so many tokens.</summary>
    public static int Chunks(int vocab) => (vocab + ChunkTokens - 1) / ChunkTokens;

    /// <summary>A chunk's part; weights, where there is room for them, are relative to its largest.</summary>
    public static ChunkMass Of(ReadOnlySpan<float> chunk, float temperature, Span<double> weights = default)
    {
        float largest = LogSumExp.Largest(chunk);
        if (float.IsNegativeInfinity(largest))
        {
            weights.Clear();
            return new ChunkMass(largest, 0);
        }
        float scaled = largest / temperature;
        return new ChunkMass(scaled, LogSumExp.Exponentials(chunk, temperature, scaled, weights));
    }

    /// <summary>The whole vocabulary's, relative to the largest of all chunks; NaN where that is not finite.</summary>
    public static double Total(ReadOnlySpan<ChunkMass> chunks)
    {
        double largest = Largest(chunks), total = 0;
        foreach (ChunkMass chunk in chunks)
            total += chunk.Sum > 0 ? chunk.Sum * chunk.Share(largest) : chunk.Sum;
        return double.IsFinite(largest) ? total : double.NaN;
    }

    /// <summary>The largest of all.</summary>
    public static double Largest(ReadOnlySpan<ChunkMass> chunks)
    {
        double largest = double.NegativeInfinity;
        foreach (ChunkMass chunk in chunks)
            largest = Math.Max(largest, chunk.Largest);
        return largest;
    }
}

/// <summary>A chunk of the vocabulary: its largest logit over the temperature, and the sum of exp relative to that.</summary>
internal readonly record struct ChunkMass(float Largest, double Sum)
{
    /// <summary>By what its sum and weights are multiplied to be relative to <paramref name="largest"/>.</summary>
    public double Share(double largest) => Math.Exp(Largest - largest);
}
