using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>Cosines and sines of a rotary embedding, as transformers computes them: frequencies and angles in float32.</summary>
/// <remarks>
/// Numerics cosines and sines are computed in float64 from the float32 angle and rounded, so that hosts with different mathematics libraries agree.
/// Source   Su et al. 2021; linear: Chen et al. 2023; yarn: Peng et al. 2023; longrope: Ding et al. 2024; llama3: Llama 3.1's reference code.
/// </remarks>
public static class RotaryTable
{
    /// <summary>[positions, RotaryDim] row-major: cos of each pair, then sin of each pair. LongRoPE: a second table for long sequences below it.</summary>
    /// <exception cref="ModelLoadException">The scaling's parameters do not fit the head.</exception>
    public static float[] Build(RopeConfig rope, int maxPositions, int positions)
    {
        ArgumentNullException.ThrowIfNull(rope);
        if (rope.RotaryDim <= 0 || rope.RotaryDim % 2 != 0)
            throw new ModelLoadException($"rotary embedding: expected an even number of rotated elements > 0, found {rope.RotaryDim}.");
        float factor = AttentionFactor(rope, maxPositions);
        float[] table = new float[TableRows(rope, positions) * rope.RotaryDim];
        Fill(table, Frequencies(rope, beyondOriginal: false), factor, positions);
        if (rope.Scaling == RopeScaling.LongRope)
            Fill(table.AsSpan(positions * rope.RotaryDim), Frequencies(rope, beyondOriginal: true), factor, positions);
        return table;
    }

    /// <summary>Rows of the table for a number of positions.</summary>
    public static int TableRows(RopeConfig rope, int positions)
    {
        ArgumentNullException.ThrowIfNull(rope);
        return rope.Scaling == RopeScaling.LongRope ? 2 * positions : positions;
    }

    /// <summary>The row of a token at <paramref name="position"/>.</summary>
    /// <remarks>
    /// LongRoPE: a sequence is rotated as a whole, by the long factors once it has more tokens than the original context. What was computed before is
    /// computed anew then, as transformers does with its cache; the scheduler sees to it, so that the choice depends on the sequence's length alone.
    /// </remarks>
    public static int Row(RopeConfig rope, int positions, int position, bool longRope)
    {
        ArgumentNullException.ThrowIfNull(rope);
        return longRope && rope.Scaling == RopeScaling.LongRope ? positions + position : position;
    }

    private static void Fill(Span<float> table, float[] frequencies, float factor, int positions)
    {
        int pairs = frequencies.Length;
        for (int position = 0; position < positions; position++)
        {
            Span<float> row = table.Slice(position * 2 * pairs, 2 * pairs);
            for (int i = 0; i < pairs; i++)
            {
                float angle = position * frequencies[i];
                row[i] = (float)Math.Cos(angle) * factor;
                row[pairs + i] = (float)Math.Sin(angle) * factor;
            }
        }
    }

    private static float[] Frequencies(RopeConfig rope, bool beyondOriginal)
    {
        int pairs = rope.RotaryDim / 2;
        float[] frequencies = new float[pairs];
        for (int i = 0; i < pairs; i++)
            frequencies[i] = 1f / Power(rope, i);
        switch (rope.Scaling)
        {
            case RopeScaling.None:
                break;
            case RopeScaling.Linear:
                for (int i = 0; i < pairs; i++)
                    frequencies[i] /= rope.Factor;
                break;
            case RopeScaling.Llama3:
                ScaleLlama3(rope, frequencies);
                break;
            case RopeScaling.Yarn:
                ScaleYarn(rope, frequencies);
                break;
            case RopeScaling.LongRope:
                IReadOnlyList<float> factors = Checked(beyondOriginal ? rope.LongFactors : rope.ShortFactors, pairs, beyondOriginal ? "long_factor" : "short_factor");
                for (int i = 0; i < pairs; i++)
                    frequencies[i] = 1f / (factors[i] * Power(rope, i));
                break;
            case RopeScaling.Factors:
                IReadOnlyList<float> divisors = Checked(rope.ShortFactors, pairs, "rope_freqs");
                for (int i = 0; i < pairs; i++)
                    frequencies[i] /= divisors[i];
                break;
            default:
                throw new ModelLoadException($"rotary embedding: scaling '{rope.Scaling}' is not supported.");
        }
        return frequencies;
    }

    /// <summary>θ^(2i / dim), with the exponent in float32.</summary>
    private static float Power(RopeConfig rope, int pair) => (float)Math.Pow(rope.Theta, 2f * pair / rope.RotaryDim);

    /// <summary>Wavelengths above the original context are stretched by the factor, short ones kept, a ramp between.</summary>
    private static void ScaleLlama3(RopeConfig rope, float[] frequencies)
    {
        float original = rope.OriginalMaxPositions;
        float lowWavelength = original / rope.LowFrequencyFactor, highWavelength = original / rope.HighFrequencyFactor;
        for (int i = 0; i < frequencies.Length; i++)
        {
            float frequency = frequencies[i], wavelength = (float)(2 * Math.PI) / frequency;
            if (wavelength > lowWavelength)
            {
                frequencies[i] = frequency / rope.Factor;
            }
            else if (wavelength >= highWavelength)
            {
                float smooth = (original / wavelength - rope.LowFrequencyFactor) / (rope.HighFrequencyFactor - rope.LowFrequencyFactor);
                frequencies[i] = (1f - smooth) * frequency / rope.Factor + smooth * frequency;
            }
        }
    }

    /// <summary>Pairs that turn often within the original context are kept, slow ones interpolated, a linear ramp over the pairs between.</summary>
    private static void ScaleYarn(RopeConfig rope, float[] frequencies)
    {
        int dim = rope.RotaryDim;
        double low = PairOfRotations(rope.BetaFast), high = PairOfRotations(rope.BetaSlow);
        if (rope.YarnTruncate)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        low = Math.Max(low, 0);
        high = Math.Min(high, dim - 1);
        if (low == high)
            high += 0.001; // as the reference: no division by zero
        for (int i = 0; i < frequencies.Length; i++)
        {
            float kept = 1f - Math.Clamp((i - (float)low) / (float)(high - low), 0f, 1f);
            float interpolated = 1f / (rope.Factor * Power(rope, i));
            frequencies[i] = interpolated * (1f - kept) + frequencies[i] * kept;
        }

        double PairOfRotations(double rotations) =>
            dim * Math.Log(rope.OriginalMaxPositions / (rotations * 2 * Math.PI)) / (2 * Math.Log(rope.Theta));
    }

    private static float AttentionFactor(RopeConfig rope, int maxPositions)
    {
        switch (rope.Scaling)
        {
            case RopeScaling.Yarn:
                if (rope.AttentionFactor is { } yarn)
                    return yarn;
                return rope is { Mscale: not 0f, MscaleAllDim: not 0f }
                    ? (float)(Magnitude(rope.Factor, rope.Mscale) / Magnitude(rope.Factor, rope.MscaleAllDim))
                    : (float)Magnitude(rope.Factor, 1);
            case RopeScaling.LongRope:
                if (rope.AttentionFactor is { } given)
                    return given;
                double factor = rope.Factor != 1f ? rope.Factor : (double)maxPositions / rope.OriginalMaxPositions;
                return factor <= 1 ? 1f : (float)Math.Sqrt(1 + Math.Log(factor) / Math.Log(rope.OriginalMaxPositions));
            default:
                return 1f;
        }
    }

    private static double Magnitude(double scale, double mscale) => scale <= 1 ? 1 : 0.1 * mscale * Math.Log(scale) + 1;

    private static IReadOnlyList<float> Checked(IReadOnlyList<float> factors, int pairs, string name) =>
        factors.Count == pairs ? factors : throw new ModelLoadException($"rotary embedding: expected {pairs} numbers in {name}, found {factors.Count}.");
}

/// <summary>Turns each pair (i, i + rotary/2) of a head by position · frequency_i.</summary>
/// <remarks>
/// Shapes   query [n, localHeads · headDim], key [n, localKvHeads · headDim] in place; table as <see cref="RotaryTable"/> computes it.
/// Source   Su et al. 2021, in the half-split form of the Hugging Face checkpoints.
/// </remarks>
public sealed class RotaryEmbedding(Tensor table, int headDim, ITensorBackend ops)
{
    /// <summary>Rotates every head in place, and stores nothing.</summary>
    public void Forward(Tensor heads, Tensor tableRows) => ops.Rope(heads, tableRows, table, headDim);

    /// <summary>Rotates both in place and stores keys and values; tableRows [n, 1] names each token's row of the table.</summary>
    public void ForwardAndStore(Tensor query, Tensor key, Tensor value, Tensor tableRows, Tensor slots, KvLayer cache) =>
        ops.RopeStoreKv(query, key, value, tableRows, table, headDim, slots, cache);
}
