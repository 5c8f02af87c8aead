using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>A 16-bit float that tensor cores multiply, as a type argument of a kernel.</summary>
internal interface ITensorElement
{
    /// <summary>Two values rounded to nearest even, the first in the low half.</summary>
    uint Pack(float low, float high);

    /// <summary>A · B + C.</summary>
    Float4 Multiply(UInt4 a, UInt2 b, Float4 c);
}

/// <summary>binary16.</summary>
internal readonly struct HalfElement : ITensorElement
{
    /// <inheritdoc/>
    public uint Pack(float low, float high) => HalfFloats.ToHalves(low, high);

    /// <inheritdoc/>
    public Float4 Multiply(UInt4 a, UInt2 b, Float4 c) => TensorCores.Halves(a, b, c);
}

/// <summary>bfloat16.</summary>
internal readonly struct BFloatElement : ITensorElement
{
    /// <inheritdoc/>
    public uint Pack(float low, float high) => HalfFloats.ToBFloats(low, high);

    /// <inheritdoc/>
    public Float4 Multiply(UInt4 a, UInt2 b, Float4 c) => TensorCores.BFloats(a, b, c);
}
