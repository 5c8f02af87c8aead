using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>The online softmax in base 2, written once for every attention kernel.</summary>
/// <remarks>
/// A chunk's partial result is (max, sum, weighted values) with weights 2^(score − max); scores carry the factor log2 e. Partials are merged in ascending
/// order of chunks. A chunk in which a row sees nothing (max = −∞) is left out by name: the factors of −∞ − −∞ would be NaN, and adding a weighted
/// zero could turn −0 into +0, so that a kernel that skips the chunk would differ from one that does not.
/// Source   Milakov and Gimelshein 2018, algorithm 3 and eq. 4.
/// </remarks>
internal static class SoftmaxMath
{
    /// <summary>log2 e.</summary>
    public const float Log2E = 1.44269504f;

    /// <summary>The larger; NaN where either is NaN, so that a NaN score reaches its row.</summary>
    [IntrinsicImplementation]
    [Ptx("max.NaN.f32 {0}, {1}, {2};")]
    public static float Max(float a, float b) => MathF.Max(a, b);

    /// <summary>A score in base 2: dot · scale · log2 e, or cap · tanh(dot · scale / cap) · log2 e.</summary>
    /// <param name="dot">The product of query and key.</param>
    /// <param name="factor">scale · log2 e; with a cap, 2 · scale / cap · log2 e.</param>
    /// <param name="cap">cap · log2 e; 0 = none.</param>
    /// <remarks>Numerics tanh x = 1 − 2 / (1 + e^2x): within 2^-23 of the cap, absolutely, which is what a softmax asks of a score.</remarks>
    public static float Score(float dot, float factor, float cap)
    {
        float scaled = DeviceMath.Multiply(dot, factor);
        return cap == 0f ? scaled : DeviceMath.Multiply(cap, DeviceMath.Fma(-2f, DeviceMath.Divide(1f, DeviceMath.Add(1f, DeviceMath.Exp2(scaled))), 1f));
    }

    /// <summary>The maximum that weights are relative to: 0 where nothing is visible, so that every weight is 2^−∞ = 0 and none is NaN.</summary>
    public static float Shift(float max) => max == float.NegativeInfinity ? 0f : max;

    /// <summary>What a value merged so far is multiplied by when a chunk joins.</summary>
    public static float Keep(float max, float chunkMax) => DeviceMath.Exp2(DeviceMath.Add(max, -Max(max, chunkMax)));

    /// <summary>What a chunk's value is multiplied by when it joins.</summary>
    public static float Join(float max, float chunkMax) => DeviceMath.Exp2(DeviceMath.Add(chunkMax, -Max(max, chunkMax)));

    /// <summary>keep · merged + join · chunk.</summary>
    public static float Merge(float merged, float keep, float chunk, float join) => DeviceMath.Fma(merged, keep, DeviceMath.Multiply(chunk, join));

    /// <summary>The weighted mean; 0 for a row that sees nothing.</summary>
    public static float Mean(float weighted, float sum) => sum == 0f ? 0f : DeviceMath.Divide(weighted, sum);
}
