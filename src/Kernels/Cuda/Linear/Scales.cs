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

/// <summary>A binary32 scale and minimum an output, products of the file's half and six-bit integer: Q4_K, Q5_K.</summary>
internal readonly struct FloatScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static int Words => 32;

    /// <inheritdoc/>
    public static bool HasHalves => false;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) => Interop.IntAsFloat(weights[scales + (2 * output)]);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => Interop.IntAsFloat(weights[scales + (2 * output) + 1]);
}

/// <summary>Two binary32 scales an output: Q3_K, Q6_K.</summary>
internal readonly struct FloatHalfScales : IScales
{
    /// <inheritdoc/>
    public static int Words => 32;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => false;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) => Interop.IntAsFloat(weights[scales + (2 * output) + half]);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => 0f;
}

/// <summary>Two binary32 scales and two minimums an output: Q2_K.</summary>
internal readonly struct FloatHalfScaleMinimums : IScales
{
    /// <inheritdoc/>
    public static int Words => 64;

    /// <inheritdoc/>
    public static bool HasHalves => true;

    /// <inheritdoc/>
    public static bool HasMinimum => true;

    /// <inheritdoc/>
    public static float Scale(ArrayView<uint> weights, long scales, int output, int half) => Interop.IntAsFloat(weights[scales + (4 * output) + half]);

    /// <inheritdoc/>
    public static float Minimum(ArrayView<uint> weights, long scales, int output, int half) => Interop.IntAsFloat(weights[scales + (4 * output) + 2 + half]);
}
