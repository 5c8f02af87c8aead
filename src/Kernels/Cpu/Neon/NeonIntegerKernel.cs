using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>Quantised panels × 8-bit activations: SDOT of sixteen codes by four activations of a register, exact in int32.</summary>
/// <remarks>
/// Cost     a block and four rows: 128 SDOT, 32 vectors of codes, 8 of activations, and 5 operations per four sums.
///          A block whose halves have scales of their own needs the first half's sums in memory: two times sixteen registers of sums do not fit.
/// </remarks>
internal sealed unsafe class NeonIntegerKernel<TCodes>(PanelFormat format)
    : NeonKernel(format, ActivationKind.Int8, TCodes.AreSigned ? CorrectionKind.None : CorrectionKind.Sum)
    where TCodes : struct, INeonCodes
{
    /// <inheritdoc/>
    protected override void BeginUnit(byte* unit, byte* scratch) => NeonScales.BeginUnit(Format, unit, (NeonBlock*)scratch);

    /// <inheritdoc/>
    protected override void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch)
    {
        NeonBlock* shared = (NeonBlock*)scratch;
        NeonScales.Read(Format, unit, block, shared);
        if (groups == 1)
        {
            AddGroup<TCodes>(Codes(unit, block), shared, a, rows, acc);
            return;
        }
        Decode(Codes(unit, block), shared->Codes);
        int groupBytes = rows * (36 + (4 * Format.Halves));
        for (int group = 0; group < groups; group++)
            AddGroup<DecodedCodes<TCodes>>(shared->Codes, shared, a + (group * groupBytes), rows, acc + (group * rows * 16));
    }

    /// <summary>All codes of a block to scratch.</summary>
    [MethodImpl(NeonKernel.Hot)]
    internal static void Decode(byte* codes, byte* decoded)
    {
        for (int v = 0; v < 4; v++)
        {
            TCodes.At(codes, 0, v).Store((sbyte*)decoded + (16 * v));
            TCodes.At(codes, 1, v).Store((sbyte*)decoded + 64 + (16 * v));
            TCodes.At(codes, 2, v).Store((sbyte*)decoded + 128 + (16 * v));
            TCodes.At(codes, 3, v).Store((sbyte*)decoded + 192 + (16 * v));
            TCodes.At(codes, 4, v).Store((sbyte*)decoded + 256 + (16 * v));
            TCodes.At(codes, 5, v).Store((sbyte*)decoded + 320 + (16 * v));
            TCodes.At(codes, 6, v).Store((sbyte*)decoded + 384 + (16 * v));
            TCodes.At(codes, 7, v).Store((sbyte*)decoded + 448 + (16 * v));
        }
    }

    private void AddGroup<TSource>(byte* codes, NeonBlock* block, byte* a, int rows, float* acc)
        where TSource : struct, INeonCodes
    {
        switch (rows)
        {
            case 1: AddRows<OneRow, TSource>(codes, block, a, acc); break;
            case 2: AddRows<TwoRows, TSource>(codes, block, a, acc); break;
            case 3: AddRows<ThreeRows, TSource>(codes, block, a, acc); break;
            default: AddRows<FourRows, TSource>(codes, block, a, acc); break;
        }
    }

    private void AddRows<TRows, TSource>(byte* codes, NeonBlock* block, byte* a, float* acc)
        where TRows : struct, IRowCount
        where TSource : struct, INeonCodes
    {
        if (Format.Halves == 2)
            NeonDots<TRows, TSource>.AddHalves(codes, block, a, Format.HasMinimum, acc);
        else
            NeonDots<TRows, TSource>.AddWhole(codes, block, a, Format.HasMinimum, acc);
    }
}

/// <summary>One group of rows × one block.</summary>
/// <remarks>Numerics the integer rows of <see cref="PanelKernel"/>'s table.</remarks>
internal static unsafe class NeonDots<TRows, TCodes>
    where TRows : struct, IRowCount
    where TCodes : struct, INeonCodes
{
    /// <summary>A block with one scale an output.</summary>
    [MethodImpl(NeonKernel.Hot)]
    public static void AddWhole(byte* codes, NeonBlock* block, byte* a, bool hasMinimum, float* acc)
    {
        float* scales = (float*)(a + (32 * TRows.Count)), minima = scales + TRows.Count;
        int* starts = hasMinimum || TCodes.AreSigned ? null : (int*)minima;
        RowSums s0 = Start(starts, 0), s1 = Start(starts, 1), s2 = Start(starts, 2), s3 = Start(starts, 3);
        AddHalf(codes, a, 0, ref s0, ref s1, ref s2, ref s3);
        AddHalf(codes, a, 1, ref s0, ref s1, ref s2, ref s3);
        End(s0, 0, block, scales, hasMinimum, minima, acc);
        End(s1, 1, block, scales, hasMinimum, minima, acc);
        End(s2, 2, block, scales, hasMinimum, minima, acc);
        End(s3, 3, block, scales, hasMinimum, minima, acc);
    }

    /// <summary>A block whose halves have scales of their own.</summary>
    [MethodImpl(NeonKernel.Hot)]
    public static void AddHalves(byte* codes, NeonBlock* block, byte* a, bool hasMinimum, float* acc)
    {
        float* scales = (float*)(a + (32 * TRows.Count)), minima = scales + TRows.Count;
        int* starts = hasMinimum || TCodes.AreSigned ? null : (int*)minima;
        RowSums s0 = Start(starts, 0), s1 = Start(starts, 1), s2 = Start(starts, 2), s3 = Start(starts, 3);
        AddHalf(codes, a, 0, ref s0, ref s1, ref s2, ref s3);
        KeepHalf(s0, 0, block);
        KeepHalf(s1, 1, block);
        KeepHalf(s2, 2, block);
        KeepHalf(s3, 3, block);
        starts = starts is null ? null : starts + TRows.Count;
        (s0, s1, s2, s3) = (Start(starts, 0), Start(starts, 1), Start(starts, 2), Start(starts, 3));
        AddHalf(codes, a, 1, ref s0, ref s1, ref s2, ref s3);
        EndHalves(s0, 0, block, scales, hasMinimum, minima, acc);
        EndHalves(s1, 1, block, scales, hasMinimum, minima, acc);
        EndHalves(s2, 2, block, scales, hasMinimum, minima, acc);
        EndHalves(s3, 3, block, scales, hasMinimum, minima, acc);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static RowSums Start(int* starts, int row)
    {
        Vector128<int> start = row >= TRows.Count || starts is null ? Vector128<int>.Zero : Vector128.Create(starts[row]);
        return new RowSums { V0 = start, V1 = start, V2 = start, V3 = start };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddHalf(byte* codes, byte* a, int half, ref RowSums s0, ref RowSums s1, ref RowSums s2, ref RowSums s3)
    {
        Vector128<sbyte> a0 = Row(a, 0, half), a1 = Row(a, 1, half), a2 = Row(a, 2, half), a3 = Row(a, 3, half);
        AddFour(codes, 4 * half, 0, a0, a1, a2, a3, ref s0, ref s1, ref s2, ref s3);
        AddFour(codes, (4 * half) + 1, 1, a0, a1, a2, a3, ref s0, ref s1, ref s2, ref s3);
        AddFour(codes, (4 * half) + 2, 2, a0, a1, a2, a3, ref s0, ref s1, ref s2, ref s3);
        AddFour(codes, (4 * half) + 3, 3, a0, a1, a2, a3, ref s0, ref s1, ref s2, ref s3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<sbyte> Row(byte* a, int row, int half) =>
        row < TRows.Count ? Vector128.Load((sbyte*)a + (32 * row) + (16 * half)) : Vector128<sbyte>.Zero;

    // Four inputs: quadruplet `lane` of the activations.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddFour(
        byte* codes, int k4, [ConstantExpected(Max = (byte)3)] byte lane, Vector128<sbyte> a0, Vector128<sbyte> a1, Vector128<sbyte> a2, Vector128<sbyte> a3,
        ref RowSums s0, ref RowSums s1, ref RowSums s2, ref RowSums s3)
    {
        Vector128<sbyte> w0 = TCodes.At(codes, k4, 0), w1 = TCodes.At(codes, k4, 1), w2 = TCodes.At(codes, k4, 2), w3 = TCodes.At(codes, k4, 3);
        s0.V0 = Dp.DotProductBySelectedQuadruplet(s0.V0, w0, a0, lane);
        s0.V1 = Dp.DotProductBySelectedQuadruplet(s0.V1, w1, a0, lane);
        s0.V2 = Dp.DotProductBySelectedQuadruplet(s0.V2, w2, a0, lane);
        s0.V3 = Dp.DotProductBySelectedQuadruplet(s0.V3, w3, a0, lane);
        if (TRows.Count > 1)
        {
            s1.V0 = Dp.DotProductBySelectedQuadruplet(s1.V0, w0, a1, lane);
            s1.V1 = Dp.DotProductBySelectedQuadruplet(s1.V1, w1, a1, lane);
            s1.V2 = Dp.DotProductBySelectedQuadruplet(s1.V2, w2, a1, lane);
            s1.V3 = Dp.DotProductBySelectedQuadruplet(s1.V3, w3, a1, lane);
        }
        if (TRows.Count > 2)
        {
            s2.V0 = Dp.DotProductBySelectedQuadruplet(s2.V0, w0, a2, lane);
            s2.V1 = Dp.DotProductBySelectedQuadruplet(s2.V1, w1, a2, lane);
            s2.V2 = Dp.DotProductBySelectedQuadruplet(s2.V2, w2, a2, lane);
            s2.V3 = Dp.DotProductBySelectedQuadruplet(s2.V3, w3, a2, lane);
        }
        if (TRows.Count > 3)
        {
            s3.V0 = Dp.DotProductBySelectedQuadruplet(s3.V0, w0, a3, lane);
            s3.V1 = Dp.DotProductBySelectedQuadruplet(s3.V1, w1, a3, lane);
            s3.V2 = Dp.DotProductBySelectedQuadruplet(s3.V2, w2, a3, lane);
            s3.V3 = Dp.DotProductBySelectedQuadruplet(s3.V3, w3, a3, lane);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void End(RowSums sums, int row, NeonBlock* block, float* scales, bool hasMinimum, float* minima, float* acc)
    {
        if (row >= TRows.Count)
            return;
        float minimum = hasMinimum ? minima[row] : 0;
        End(sums.V0, 0, block, scales[row], hasMinimum, minimum, acc + (16 * row));
        End(sums.V1, 4, block, scales[row], hasMinimum, minimum, acc + (16 * row));
        End(sums.V2, 8, block, scales[row], hasMinimum, minimum, acc + (16 * row));
        End(sums.V3, 12, block, scales[row], hasMinimum, minimum, acc + (16 * row));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void End(Vector128<int> sum, int lane, NeonBlock* block, float scale, bool hasMinimum, float minimum, float* acc)
    {
        Vector128<float> factor = Vector128.Load(block->Scale0 + lane) * scale;
        Vector128<float> result = AdvSimd.FusedMultiplyAdd(Vector128.Load(acc + lane), AdvSimd.ConvertToSingle(sum), factor);
        if (hasMinimum)
            result = AdvSimd.FusedMultiplyAdd(result, Vector128.Load(block->Min0 + lane), Vector128.Create(minimum));
        result.Store(acc + lane);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void KeepHalf(RowSums sums, int row, NeonBlock* block)
    {
        if (row >= TRows.Count)
            return;
        float* kept = block->FirstHalf + (16 * row);
        (AdvSimd.ConvertToSingle(sums.V0) * Vector128.Load(block->Scale0)).Store(kept);
        (AdvSimd.ConvertToSingle(sums.V1) * Vector128.Load(block->Scale0 + 4)).Store(kept + 4);
        (AdvSimd.ConvertToSingle(sums.V2) * Vector128.Load(block->Scale0 + 8)).Store(kept + 8);
        (AdvSimd.ConvertToSingle(sums.V3) * Vector128.Load(block->Scale0 + 12)).Store(kept + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void EndHalves(RowSums sums, int row, NeonBlock* block, float* scales, bool hasMinimum, float* minima, float* acc)
    {
        if (row >= TRows.Count)
            return;
        float* kept = block->FirstHalf + (16 * row);
        float minimum0 = hasMinimum ? minima[row] : 0, minimum1 = hasMinimum ? minima[row + TRows.Count] : 0;
        EndHalves(sums.V0, 0, block, kept, scales[row], hasMinimum, minimum0, minimum1, acc + (16 * row));
        EndHalves(sums.V1, 4, block, kept, scales[row], hasMinimum, minimum0, minimum1, acc + (16 * row));
        EndHalves(sums.V2, 8, block, kept, scales[row], hasMinimum, minimum0, minimum1, acc + (16 * row));
        EndHalves(sums.V3, 12, block, kept, scales[row], hasMinimum, minimum0, minimum1, acc + (16 * row));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void EndHalves(
        Vector128<int> sum, int lane, NeonBlock* block, float* kept, float scale, bool hasMinimum, float minimum0, float minimum1, float* acc)
    {
        Vector128<float> both = AdvSimd.FusedMultiplyAdd(Vector128.Load(kept + lane), AdvSimd.ConvertToSingle(sum), Vector128.Load(block->Scale1 + lane));
        Vector128<float> result = AdvSimd.FusedMultiplyAdd(Vector128.Load(acc + lane), both, Vector128.Create(scale));
        if (hasMinimum)
        {
            result = AdvSimd.FusedMultiplyAdd(result, Vector128.Load(block->Min0 + lane), Vector128.Create(minimum0));
            result = AdvSimd.FusedMultiplyAdd(result, Vector128.Load(block->Min1 + lane), Vector128.Create(minimum1));
        }
        result.Store(acc + lane);
    }

    /// <summary>Integer sums of a row's sixteen outputs.</summary>
    private struct RowSums
    {
        public Vector128<int> V0, V1, V2, V3;
    }
}
