using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>How the scales of a block of 16 outputs and 32 inputs lie in memory.</summary>
internal interface IScales
{
    /// <summary>Words of a block's scales.</summary>
    static abstract int Words { get; }

    /// <summary>True where inputs 0..15 and 16..31 have scales of their own.</summary>
    static abstract bool HasHalves { get; }

    /// <summary>True where values have a minimum.</summary>
    static abstract bool HasMinimum { get; }

    /// <summary>The scale of an output's half.</summary>
    static abstract float Scale(ArrayView<uint> weights, long scales, int output, int half);

    /// <summary>What is added to each value of an output's half.</summary>
    static abstract float Minimum(ArrayView<uint> weights, long scales, int output, int half);
}

/// <summary>A binary16 scale an output: Q4_0, Q5_0, Q8_0, IQ4_NL.</summary>
internal readonly struct HalfScales : IScales
{
    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) => HalfFloats.FromHalf(weights[scales + (output >> 1)] >> ((output & 1) * 16));

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => 0f;
}

/// <summary>A binary16 scale and minimum an output: Q4_1, Q5_1.</summary>
internal readonly struct HalfScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) => HalfFloats.FromHalf(weights[scales + output]);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => HalfFloats.FromHalf(weights[scales + output] >> 16);
}

/// <summary>Q4_K, Q5_K: the block's binary16 factors d and dmin of an output in a word, then two outputs' six-bit scale and minimum in a word.</summary>
/// <remarks>Numerics factor times integer is exact in float32: at most 17 bits.</remarks>
internal readonly struct SixBitScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static int Words => 24;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) =>
        DeviceMath.Multiply(HalfFloats.FromHalf(weights[scales + output]), FactorPairs.At(weights, scales, output) & 63);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) =>
        -DeviceMath.Multiply(HalfFloats.FromHalf(weights[scales + output] >> 16), (FactorPairs.At(weights, scales, output) >> 8) & 63);
}

/// <summary>Q3_K, Q6_K: binary16 d of an output, and the signed bytes that scale its halves, in one word.</summary>
/// <remarks>Numerics factor times integer is exact in float32: at most 19 bits.</remarks>
internal readonly struct ByteHalfScales : IScales
{
    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half)
    {
        uint word = weights[scales + output];
        return DeviceMath.Multiply(HalfFloats.FromHalf(word), DeviceBits.SignedByte(word, 2 + half));
    }

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => 0f;
}

/// <summary>Q2_K: the block's binary16 factors d and dmin of an output in a word, then two outputs' four-bit scales and minimums of both halves in a word.</summary>
/// <remarks>Numerics factor times integer is exact in float32: at most 15 bits.</remarks>
internal readonly struct NibbleHalfScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static int Words => 24;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) =>
        DeviceMath.Multiply(HalfFloats.FromHalf(weights[scales + output]), (FactorPairs.At(weights, scales, output) >> (8 * half)) & 15);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) =>
        -DeviceMath.Multiply(HalfFloats.FromHalf(weights[scales + output] >> 16), (FactorPairs.At(weights, scales, output) >> (4 + (8 * half))) & 15);
}

/// <summary>16 bits of small integers an output, behind the 16 words of factors.</summary>
internal static class FactorPairs
{
    /// <summary>The integers of an output in the low 16 bits.</summary>
    public static int At(ArrayView<uint> weights, long scales, int output) => (int)(weights[scales + 16 + (output >> 1)] >> ((output & 1) * 16)) & 0xFFFF;
}
