using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>What a pair of a token and a head knows of the positions it has seen: their largest score, the sums of their weights by lane, their weighted values.</summary>
/// <remarks>
/// Positions are walked in segments of 512 counted from position 0, each from an empty state; the states are joined in ascending order. Where the
/// segments of a pair were walked, by one thread or by several, changes no bit.
/// Numerics joining: m' = max(m, n); sums · e^(m − m') + others · e^(n − m'), the product of the earlier segments rounded first, then a fused multiply-add.
/// Shapes   weights [16], values [paddedDim].
/// Source   Dao et al. 2023, flash-decoding.
/// </remarks>
internal readonly unsafe struct SoftmaxState(float* max, float* weights, float* values)
{
    /// <summary>Positions of a segment: chunks, so that a chunk is in one segment.</summary>
    public const int SegmentPositions = 8 * OnlineSoftmax.ChunkPositions;

    private const int L = VectorMath.Lanes;

    public float* Max => max;

    public float* Weights => weights;

    public float* Values => values;

    /// <summary>As if nothing had been seen.</summary>
    public void Clear(int paddedDim)
    {
        *max = float.NegativeInfinity;
        new Span<float>(weights, L).Clear();
        new Span<float>(values, paddedDim).Clear();
    }

    /// <summary>Adds what was seen after it.</summary>
    public void Join(SoftmaxState later, int paddedDim)
    {
        if (*later.Max == float.NegativeInfinity)
            return; // it has seen nothing there
        if (*max == float.NegativeInfinity)
        {
            *max = *later.Max;
            new Span<float>(later.Weights, L).CopyTo(new Span<float>(weights, L));
            new Span<float>(later.Values, paddedDim).CopyTo(new Span<float>(values, paddedDim));
            return;
        }
        float largest = Math.Max(*max, *later.Max);
        Vector512<float> own = VectorMath.Exp(Vector512.Create(*max - largest)), other = VectorMath.Exp(Vector512.Create(*later.Max - largest));
        *max = largest;
        Join(weights, own, later.Weights, other);
        for (int i = 0; i < paddedDim; i += L)
            Join(values + i, own, later.Values + i, other);
    }

    private static void Join(float* sums, Vector512<float> factor, float* others, Vector512<float> otherFactor) =>
        Vector512.FusedMultiplyAdd(Vector512.Load(others), otherFactor, Vector512.Load(sums) * factor).Store(sums);
}
