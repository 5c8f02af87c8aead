using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda;

/// <summary>D = A · B + C of one warp: A [16 × 16], B [16 × 8] in 16-bit floats, C and D [16 × 8] in float32.</summary>
/// <remarks>
/// Shapes   with g = lane / 4 and t = lane % 4, a lane holds
///          of A, in pairs of columns (low half first): (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8);
///          of B, in pairs of rows: (2t, g), (2t + 8, g);
///          of C and D: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
/// Launch   all 32 lanes of a warp together.
/// Numerics products exact, their sum in an order and with a rounding that belong to the card's architecture. An element of D depends on its row of A, its
///          column of B and its element of C alone.
/// Source   PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
/// </remarks>
internal static class TensorCores
{
    /// <summary>With A and B in binary16.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {0}, {1}, {2}, {3};")]
    public static Float4 MultiplyHalves(UInt4 a, UInt2 b, Float4 c) => Emulated(a, b, c, isBFloat: false);

    /// <summary>With A and B in bfloat16.</summary>
    [IntrinsicImplementation]
    [Ptx("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {0}, {1}, {2}, {3};")]
    public static Float4 MultiplyBFloats(UInt4 a, UInt2 b, Float4 c) => Emulated(a, b, c, isBFloat: true);

    /// <summary>The product on ILGPU's CPU accelerator: every lane fetches its two rows of A and its two columns of B from the lanes that hold them.</summary>
    private static Float4 Emulated(UInt4 a, UInt2 b, Float4 c, bool isBFloat)
    {
        int rowLane = Warp.LaneIdx / 4 * 4, columnLane = Warp.LaneIdx % 4 * 8;
        double topLeft = c.A, topRight = c.B, bottomLeft = c.C, bottomRight = c.D;
        for (int t = 0; t < 4; t++)
        {
            for (int half = 0; half < 2; half++)
            {
                uint top = Fetch(half == 0 ? a.A : a.C, rowLane + t), bottom = Fetch(half == 0 ? a.B : a.D, rowLane + t);
                uint left = Fetch(half == 0 ? b.A : b.B, columnLane + t), right = Fetch(half == 0 ? b.A : b.B, columnLane + 4 + t);
                topLeft += Dot(top, left, isBFloat);
                topRight += Dot(top, right, isBFloat);
                bottomLeft += Dot(bottom, left, isBFloat);
                bottomRight += Dot(bottom, right, isBFloat);
            }
        }
        return new() { A = (float)topLeft, B = (float)topRight, C = (float)bottomLeft, D = (float)bottomRight };
    }

    private static uint Fetch(uint register, int lane) => (uint)Warp.Shuffle((int)register, lane);

    private static double Dot(uint a, uint b, bool isBFloat) => isBFloat
        ? (double)HalfFloats.FromBFloat(a & 0xFFFF) * HalfFloats.FromBFloat(b & 0xFFFF) + (double)HalfFloats.FromBFloat(a >> 16) * HalfFloats.FromBFloat(b >> 16)
        : (double)HalfFloats.FromHalf(a & 0xFFFF) * HalfFloats.FromHalf(b & 0xFFFF) + (double)HalfFloats.FromHalf(a >> 16) * HalfFloats.FromHalf(b >> 16);
}
