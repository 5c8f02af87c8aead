using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Rows of activations as the second operand of mma.sync: tiles of 8 rows, in each its blocks of 32 inputs, rounded or quantised once.</summary>
/// <remarks>
/// Shapes   x [rows, inputs], packed [⌈rows / 8⌉][blocks][<see cref="HalfWords"/> or <see cref="CodedWords"/>] words; rows beyond the last are zero.
/// Launch   16-bit: a thread four words, 128 a group. Coded: eight threads a block of a row, 128 a group. The grid's second dimension walks the rows.
/// Cost     reads 4 and writes 2 or 1.5 bytes an input and row: a hundredth of a product's bytes.
/// </remarks>
internal static class PackedActivations
{
    /// <summary>Threads of a group.</summary>
    public const int GroupSize = 128;

    /// <summary>Rows of a tile.</summary>
    public const int TileRows = 8;

    /// <summary>Words of a 16-bit block of 8 rows: lane 4g + t holds of row g inputs 2t, 2t + 1 and 2t + 8, 2t + 9 of both halves of the block.</summary>
    public const int HalfWords = 128;

    /// <summary>Words of a coded block of 8 rows: 64 of codes (lane 4g + t: inputs 4t… and 16 + 4t… of row g), then 8 each of scales, sums and sums of both halves.</summary>
    public const int CodedWords = 96;

    /// <summary>Where the scales begin.</summary>
    public const int ScalesAt = 64;

    /// <summary>Where the scaled sums of a block's codes begin.</summary>
    public const int SumsAt = 72;

    /// <summary>Where the scaled sums of inputs 0..15 begin; those of 16..31 follow.</summary>
    public const int HalfSumsAt = 80;

    private const float LargestCode = 127f;

    // Adding 1.5 · 2^23 rounds to the nearest integer, ties to even, and leaves it in the low mantissa bits.
    private const float Rounder = 12582912f;
    private const int RounderBits = 0x4B400000;

    /// <summary>Both kernels' signature.</summary>
    public delegate void Launch(KernelConfig config, ArrayView<float> x, ArrayView<uint> packed, ArrayView<BlockVisit> visits, int rows, int stride, int blocks);

    /// <summary>Compiles the kernel that rounds to a 16-bit type.</summary>
    public static Launch LoadRounding<T>(CudaQueue queue) where T : struct, IHalfMath =>
        new(queue.Load<ArrayView<float>, ArrayView<uint>, ArrayView<BlockVisit>, int, int, int>(RoundKernel<T>));

    /// <summary>Compiles the kernel that quantises.</summary>
    public static Launch LoadQuantising(CudaQueue queue) =>
        new(queue.Load<ArrayView<float>, ArrayView<uint>, ArrayView<BlockVisit>, int, int, int>(QuantiseKernel));

    /// <remarks>Numerics round to nearest even; binary16 saturates finite values.</remarks>
    [DeviceKernel(typeof(BFloatMath), GroupSize = GroupSize)]
    [DeviceKernel(typeof(BinaryHalfMath), GroupSize = GroupSize)]
    internal static void RoundKernel<T>(ArrayView<float> x, ArrayView<uint> packed, ArrayView<BlockVisit> visits, int rows, int stride, int blocks)
        where T : struct, IHalfMath
    {
        int item = (Grid.IdxX * GroupSize) + Group.IdxX, block = item / 32, lane = item % 32;
        if (block >= blocks)
            return;
        BlockVisit visit = visits[block];
        int first = lane % 4 * 2, tiles = (rows + TileRows - 1) / TileRows;
        for (int tile = Grid.IdxY; tile < tiles; tile += Grid.DimY)
        {
            int row = (tile * TileRows) + (lane / 4), from = (row * stride) + visit.Column, count = row < rows ? visit.Count : 0;
            int to = (((tile * blocks) + block) * HalfWords) + (lane * 4);
            packed[to] = T.Round(At(x, from, first, count), At(x, from, first + 1, count));
            packed[to + 1] = T.Round(At(x, from, first + 8, count), At(x, from, first + 9, count));
            packed[to + 2] = T.Round(At(x, from, first + 16, count), At(x, from, first + 17, count));
            packed[to + 3] = T.Round(At(x, from, first + 24, count), At(x, from, first + 25, count));
        }
    }

    /// <remarks>
    /// Numerics per row and block: scale = amax / 127; code = x · (127 / amax) rounded to nearest even. Where 127 / amax overflows all codes are 0;
    ///          where amax is not finite, scale is NaN, and so is every output. The sums are scale · Σ code, rounded once.
    /// Oracle   the CPU backend's ActivationTile.
    /// </remarks>
    [DeviceKernel(GroupSize = GroupSize)]
    internal static void QuantiseKernel(ArrayView<float> x, ArrayView<uint> packed, ArrayView<BlockVisit> visits, int rows, int stride, int blocks)
    {
        int item = (Grid.IdxX * GroupSize) + Group.IdxX, block = item / 8, own = item % 8;
        if (block >= blocks)
            return;
        BlockVisit visit = visits[block];
        int padded = (rows + TileRows - 1) / TileRows * TileRows;
        for (int row = Grid.IdxY; row < padded; row += Grid.DimY)
        {
            // 1. The largest magnitude, compared as integers: the same order for numbers, and a NaN is the largest of all. Eight threads read a block, each
            //    all of it: neighbours hit the first cache, and nobody waits for a shuffle.
            int count = row < rows ? visit.Count : 0, from = (row * stride) + visit.Column;
            int largest = 0;
            for (int i = 0; i < LinearPlan.BlockInputs; i++)
                largest = Math.Max(largest, (int)(Interop.FloatAsInt(At(x, from, i - visit.Lead, count)) & 0x7FFFFFFF));
            float amax = Interop.IntAsFloat((uint)largest), inverse = DeviceMath.Divide(LargestCode, amax);
            float scale = largest < 0x7F800000 ? DeviceMath.Divide(amax, LargestCode) : float.NaN;
            bool codes = largest < 0x7F800000 && inverse <= float.MaxValue;

            // 2. Codes, four to a word: each thread keeps its own word and all sums.
            uint ownWord = 0;
            int sum0 = 0, sum1 = 0;
            for (int quad = 0; quad < 8; quad++)
            {
                uint word = 0;
                int sum = 0;
                for (int i = 0; i < 4; i++)
                {
                    int code = codes ? Code(At(x, from, (quad * 4) + i - visit.Lead, count), inverse) : 0;
                    word |= ((uint)code & 0xFF) << (8 * i);
                    sum += code;
                }
                ownWord = quad == own ? word : ownWord;
                sum0 += quad < 4 ? sum : 0;
                sum1 += quad < 4 ? 0 : sum;
            }

            // 3. The block's first thread writes its scale and sums.
            int to = ((row / TileRows * blocks) + block) * CodedWords, at = row % TileRows;
            packed[to + (((at * 4) + (own & 3)) * 2) + (own >> 2)] = ownWord;
            if (own > 0)
                continue;
            packed[to + ScalesAt + at] = Interop.FloatAsInt(scale);
            packed[to + SumsAt + at] = Interop.FloatAsInt(DeviceMath.Multiply(scale, sum0 + sum1));
            packed[to + HalfSumsAt + at] = Interop.FloatAsInt(DeviceMath.Multiply(scale, sum0));
            packed[to + HalfSumsAt + TileRows + at] = Interop.FloatAsInt(DeviceMath.Multiply(scale, sum1));
        }
    }

    private static int Code(float value, float inverse) => (int)Interop.FloatAsInt(DeviceMath.Add(DeviceMath.Multiply(value, inverse), Rounder)) - RounderBits;

    private static float At(ArrayView<float> x, int from, int input, int count) => (uint)input < (uint)count ? x[from + input] : 0f;
}
