using ILGPU.IR.Intrinsics;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>The 16-bit float types in registers.</summary>
/// <remarks>Numerics to float32 exactly; from float32 rounded to nearest even, subnormals kept, NaN stays NaN.</remarks>
internal static class HalfFloats
{
    private const float LargestHalf = 65504f;

    /// <summary>The value of the binary16 in the low 16 bits.</summary>
    [IntrinsicImplementation]
    [Ptx("{ .reg .b16 low, high; mov.b32 {low, high}, {1}; cvt.f32.f16 {0}, low; }")]
    public static float FromHalf(uint bits) => (float)BitConverter.UInt16BitsToHalf((ushort)bits);

    /// <summary>The value of the bfloat16 in the low 16 bits.</summary>
    public static float FromBFloat(uint bits) => ILGPU.Interop.IntAsFloat(bits << 16);

    /// <summary>Two binary16, <paramref name="low"/> in the low half; beyond the largest they become infinite.</summary>
    [IntrinsicImplementation]
    [Ptx("cvt.rn.f16x2.f32 {0}, {2}, {1};")]
    public static uint ToHalves(float low, float high) => BitConverter.HalfToUInt16Bits((Half)low) | ((uint)BitConverter.HalfToUInt16Bits((Half)high) << 16);

    /// <summary>Two bfloat16, <paramref name="low"/> in the low half.</summary>
    [IntrinsicImplementation]
    [Ptx("cvt.rn.bf16x2.f32 {0}, {2}, {1};")]
    public static uint ToBFloats(float low, float high) => FloatValues.ToBFloat16(low) | ((uint)FloatValues.ToBFloat16(high) << 16);

    /// <summary>A finite value beyond binary16's largest becomes the largest; infinities and NaN stay.</summary>
    [IntrinsicImplementation]
    [Ptx("{ .reg .f32 clamped, size; .reg .pred finite; min.f32 clamped, {1}, 0f477FE000; max.f32 clamped, clamped, 0fC77FE000; abs.f32 size, {1}; setp.lt.f32 finite, size, 0f7F800000; selp.f32 {0}, clamped, {1}, finite; }")]
    public static float ClampToHalf(float value) => float.IsFinite(value) ? Math.Clamp(value, -LargestHalf, LargestHalf) : value;
}
