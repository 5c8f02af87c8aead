using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A 16-bit float type on tensor cores.</summary>
internal interface IHalfMath
{
    /// <summary>a · b + c over 16 inputs.</summary>
    static abstract Float4 Multiply(UInt4 a, UInt2 b, Float4 c);

    /// <summary>Two activations, <paramref name="low"/> in the low half.</summary>
    static abstract uint Round(float low, float high);
}

/// <summary>bfloat16.</summary>
internal readonly struct BFloatMath : IHalfMath
{
    /// <inheritdoc/>
    public static Float4 Multiply(UInt4 a, UInt2 b, Float4 c) => TensorCores.BFloats(a, b, c);

    /// <inheritdoc/>
    public static uint Round(float low, float high) => HalfFloats.ToBFloats(low, high);
}

/// <summary>binary16; activations beyond its largest value become that value.</summary>
internal readonly struct BinaryHalfMath : IHalfMath
{
    /// <inheritdoc/>
    public static Float4 Multiply(UInt4 a, UInt2 b, Float4 c) => TensorCores.Halves(a, b, c);

    /// <inheritdoc/>
    public static uint Round(float low, float high) => HalfFloats.ToHalves(HalfFloats.ClampToHalf(low), HalfFloats.ClampToHalf(high));
}
