using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>How the scales of a block of 16 outputs and 32 inputs lie behind its codes: a word an output, or two outputs a word, and perhaps small integers.</summary>
/// <remarks>
/// Every layout has the words of output g + 8 a fixed number of words behind those of output g, so that a lane has one address a block and constants.
/// Numerics scale and minimum are exact in float32: a factor has 11 bits, an integer at most 8.
/// </remarks>
internal interface IScales
{
    /// <summary>How the packer writes them.</summary>
    static abstract ScaleKind Kind { get; }

    /// <summary>Words of a block's scales.</summary>
    static abstract int Words { get; }

    /// <summary>True where inputs 0..15 and 16..31 have scales of their own.</summary>
    static abstract bool HasHalves { get; }

    /// <summary>True where values have a minimum.</summary>
    static abstract bool HasMinimum { get; }

    /// <summary>True where 16 bits of small integers an output, two outputs a word, follow the 16 words of factors.</summary>
    static abstract bool HasIntegers { get; }

    /// <summary>Outputs of a word of factors: 1 or 2.</summary>
    static abstract int WordOutputs { get; }

    /// <summary>The scale of an output's half, from the words that hold its factors and its integers.</summary>
    static abstract float Scale(uint factors, uint integers, int output, int half);

    /// <summary>What is added to each value of an output's half.</summary>
    static abstract float Minimum(uint factors, uint integers, int output, int half);
}

/// <summary>A binary16 scale an output, two outputs a word: Q4_0, Q5_0, Q8_0, IQ4_NL.</summary>
internal readonly struct HalfScales : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.Half;

    /// <inheritdoc/>
    public static int Words => 8;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 2;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => HalfFloats.FromHalf(factors >> ((output & 1) * 16));

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => 0f;
}

/// <summary>A binary16 scale and minimum an output: Q4_1, Q5_1.</summary>
internal readonly struct HalfScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.HalfMinimum;

    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => HalfFloats.FromHalf(factors);

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => HalfFloats.FromHalf(factors >> 16);
}

/// <summary>Q4_K, Q5_K: the block's binary16 factors d and dmin, and the output's six-bit scale and minimum.</summary>
internal readonly struct SixBitScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.SixBitMinimum;

    /// <inheritdoc/>
    public static int Words => 24;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static bool HasIntegers => true;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) =>
        DeviceMath.Multiply(HalfFloats.FromHalf(factors), (int)(integers >> ((output & 1) * 16)) & 63);

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) =>
        -DeviceMath.Multiply(HalfFloats.FromHalf(factors >> 16), (int)(integers >> (((output & 1) * 16) + 8)) & 63);
}

/// <summary>Q3_K, Q6_K: binary16 d of an output and the signed bytes that scale its halves, in one word.</summary>
internal readonly struct ByteHalfScales : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.BytePair;

    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) =>
        DeviceMath.Multiply(HalfFloats.FromHalf(factors), DeviceBits.SignedByte(factors, 2 + half));

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => 0f;
}

/// <summary>IQ2_XS, IQ2_S, IQ1_M: an eighth of binary16 d of an output, and the signed bytes that scale its halves, in one word.</summary>
internal readonly struct EighthByteHalfScales : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.BytePair;

    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => ByteHalfScales.Scale(factors, integers, output, half) * 0.125f;

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => 0f;
}

/// <summary>NVFP4: the scales of an output's halves as binary16, in one word.</summary>
internal readonly struct HalfPairScales : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.HalfPair;

    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => HalfFloats.FromHalf(factors >> (16 * half));

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => 0f;
}

/// <summary>A binary32 scale an output: what the packer has made of factors of several parts.</summary>
internal readonly struct SingleScales : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.Single;

    /// <inheritdoc/>
    public static int Words => 16;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static bool HasIntegers => false;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) => Interop.IntAsFloat(factors);

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) => 0f;
}

/// <summary>Q2_K: the block's binary16 factors d and dmin, and the output's four-bit scale and minimum of each half.</summary>
internal readonly struct NibbleHalfScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static ScaleKind Kind => ScaleKind.NibblePairMinimum;

    /// <inheritdoc/>
    public static int Words => 24;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static bool HasIntegers => true;

    /// <inheritdoc/>
    public static int WordOutputs => 1;

    /// <inheritdoc/>
    public static float Scale(uint factors, uint integers, int output, int half) =>
        DeviceMath.Multiply(HalfFloats.FromHalf(factors), (int)(integers >> (((output & 1) * 16) + (8 * half))) & 15);

    /// <inheritdoc/>
    public static float Minimum(uint factors, uint integers, int output, int half) =>
        -DeviceMath.Multiply(HalfFloats.FromHalf(factors >> 16), (int)(integers >> (((output & 1) * 16) + 4 + (8 * half))) & 15);
}
