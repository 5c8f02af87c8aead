using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Products of a warp on tensor cores: d = a · b + c with 16 outputs as rows of a and 8 activation rows as columns of b.</summary>
/// <remarks>
/// Lane 4g + t holds of c and d outputs g (A, B) and g + 8 (C, D), activation rows 2t (A, C) and 2t + 1 (B, D); of a outputs g and g + 8, of b
/// activation row g. All 32 lanes call together.
/// Numerics integers exactly. 16-bit floats: products exactly, summed in float32 in the hardware's own order, which depends on nothing but the shape.
/// Errors   NotSupportedException on the emulated device, which never loads a kernel that needs them.
/// Source   PTX ISA, "Matrix multiply-accumulate instructions".
/// </remarks>
internal static class TensorCores
{
    /// <summary>16 inputs, bfloat16.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {0}, {1}, {2}, {3};")]
    public static Float4 BFloats(UInt4 a, UInt2 b, Float4 c) => throw Missing();

    /// <summary>16 inputs, binary16.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {0}, {1}, {2}, {3};")]
    public static Float4 Halves(UInt4 a, UInt2 b, Float4 c) => throw Missing();

    /// <summary>32 inputs, signed bytes.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {0}, {1}, {2}, {3};")]
    public static Int4 Bytes(UInt4 a, UInt2 b, Int4 c) => throw Missing();

    /// <summary>16 inputs, signed bytes.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {0}, {1}, {{2}}, {3};")]
    public static Int4 HalfBytes(UInt2 a, uint b, Int4 c) => throw Missing();

    private static NotSupportedException Missing() => new("The emulated device has no tensor cores.");
}
