using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>bf16 panels × bf16 activations: two fused multiply-adds a pair of inputs, the odd one first.</summary>
/// <remarks>
/// Numerics a product of two bf16 is exact in float32. Subnormal weights and sums are zero, and C# cannot set FPCR.FZ, whose flush is another one anyway:
///          before rounding, not after. So sums are taken as if nothing were subnormal, while the smallest magnitudes above zero are kept; where a
///          weight was subnormal or a sum not above 2^-126, the block is computed again by <see cref="PlainKernel.BFloats"/>.
///          The smallest magnitude is the minimum of 2 · bits − 1, unsigned: the sign falls out, and zero wraps to the largest.
/// Cost     eight outputs × four rows at a time; three operations per multiply-add watch it.
/// </remarks>
internal sealed unsafe class NeonBFloatKernel(PanelFormat format) : NeonKernel(format, ActivationKind.BFloat16, CorrectionKind.None)
{
    private const int PassOutputs = 8;
    private const uint AboveSmallestNormal = (2 * 0x00800001u) - 1;
    private const ushort SmallestNormalWeight = (2 * 0x0080) - 1;

    /// <inheritdoc/>
    protected override void Accumulate(byte* unit, int block, byte* a, int rows, int groups, float* acc, byte* scratch)
    {
        ushort* x = (ushort*)a;
        for (int group = 0; group < groups; group++, x += 32 * rows, acc += 32 * rows)
        {
            for (int first = 0; first < 32; first += PassOutputs)
            {
                bool isExact = rows switch
                {
                    1 => TryAdd<OneRow>(unit + (4 * first), x, acc + first),
                    2 => TryAdd<TwoRows>(unit + (4 * first), x, acc + first),
                    3 => TryAdd<ThreeRows>(unit + (4 * first), x, acc + first),
                    _ => TryAdd<FourRows>(unit + (4 * first), x, acc + first),
                };
                if (!isExact)
                    PlainKernel.BFloats(unit, x, rows, acc, first, PassOutputs);
            }
        }
    }

    /// <summary>Adds a block's eight outputs; false, and acc as it was, where something had to be flushed.</summary>
    [MethodImpl(NeonKernel.Hot)]
    private static bool TryAdd<TRows>(byte* weights, ushort* x, float* acc)
        where TRows : struct, IRowCount
    {
        Watch watch = new() { Sum = Vector128<uint>.AllBitsSet, Weight = Vector128<ushort>.AllBitsSet };
        RowSums s0 = Load<TRows>(acc, 0), s1 = Load<TRows>(acc, 1), s2 = Load<TRows>(acc, 2), s3 = Load<TRows>(acc, 3);
        for (int k = 0; k < 32; k += 8)
        {
            Pairs x0 = Row<TRows>(x, 0, k), x1 = Row<TRows>(x, 1, k), x2 = Row<TRows>(x, 2, k), x3 = Row<TRows>(x, 3, k);
            byte* w = weights + (64 * k);
            AddPair<TRows>(w, 0, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3, ref watch);
            AddPair<TRows>(w + 128, 1, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3, ref watch);
            AddPair<TRows>(w + 256, 2, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3, ref watch);
            AddPair<TRows>(w + 384, 3, x0, x1, x2, x3, ref s0, ref s1, ref s2, ref s3, ref watch);
        }
        if (Vector128.LessThanAny(watch.Sum, Vector128.Create(AboveSmallestNormal)) || Vector128.LessThanAny(watch.Weight, Vector128.Create(SmallestNormalWeight)))
            return false;
        Store<TRows>(s0, acc, 0);
        Store<TRows>(s1, acc, 1);
        Store<TRows>(s2, acc, 2);
        Store<TRows>(s3, acc, 3);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddPair<TRows>(
        byte* weights, [ConstantExpected(Max = (byte)3)] byte lane, Pairs x0, Pairs x1, Pairs x2, Pairs x3,
        ref RowSums s0, ref RowSums s1, ref RowSums s2, ref RowSums s3, ref Watch watch)
        where TRows : struct, IRowCount
    {
        Pairs w0 = Split(Vector128.Load((uint*)weights)), w1 = Split(Vector128.Load((uint*)weights + 4));
        watch.Weight = Vector128.Min(watch.Weight, Key(Vector128.Load((ushort*)weights)));
        watch.Weight = Vector128.Min(watch.Weight, Key(Vector128.Load((ushort*)weights + 8)));
        s0.V0 = Add(s0.V0, w0, x0, lane, ref watch);
        s0.V1 = Add(s0.V1, w1, x0, lane, ref watch);
        if (TRows.Count > 1)
        {
            s1.V0 = Add(s1.V0, w0, x1, lane, ref watch);
            s1.V1 = Add(s1.V1, w1, x1, lane, ref watch);
        }
        if (TRows.Count > 2)
        {
            s2.V0 = Add(s2.V0, w0, x2, lane, ref watch);
            s2.V1 = Add(s2.V1, w1, x2, lane, ref watch);
        }
        if (TRows.Count > 3)
        {
            s3.V0 = Add(s3.V0, w0, x3, lane, ref watch);
            s3.V1 = Add(s3.V1, w1, x3, lane, ref watch);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Add(Vector128<float> sum, Pairs w, Pairs x, [ConstantExpected(Max = (byte)3)] byte lane, ref Watch watch)
    {
        sum = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(sum, w.Odd, x.Odd, lane);
        watch.Sum = Vector128.Min(watch.Sum, (sum.AsUInt32() << 1) + Vector128<uint>.AllBitsSet);
        sum = AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(sum, w.Even, x.Even, lane);
        watch.Sum = Vector128.Min(watch.Sum, (sum.AsUInt32() << 1) + Vector128<uint>.AllBitsSet);
        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Key(Vector128<ushort> weights) => (weights << 1) + Vector128<ushort>.AllBitsSet;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Pairs Split(Vector128<uint> pairs) => new() { Even = (pairs << 16).AsSingle(), Odd = (pairs & Vector128.Create(0xFFFF0000)).AsSingle() };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Pairs Row<TRows>(ushort* x, int row, int k)
        where TRows : struct, IRowCount => row < TRows.Count ? Split(Vector128.Load((uint*)(x + (32 * row) + k))) : default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static RowSums Load<TRows>(float* acc, int row)
        where TRows : struct, IRowCount =>
        row < TRows.Count ? new RowSums { V0 = Vector128.Load(acc + (32 * row)), V1 = Vector128.Load(acc + (32 * row) + 4) } : default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TRows>(RowSums sums, float* acc, int row)
        where TRows : struct, IRowCount
    {
        if (row >= TRows.Count)
            return;
        sums.V0.Store(acc + (32 * row));
        sums.V1.Store(acc + (32 * row) + 4);
    }

    /// <summary>Four pairs of inputs of one row, or a pair of four outputs, widened.</summary>
    private struct Pairs
    {
        public Vector128<float> Even, Odd;
    }

    /// <summary>Sums of a row's eight outputs.</summary>
    private struct RowSums
    {
        public Vector128<float> V0, V1;
    }

    /// <summary>The smallest magnitudes above zero, as 2 · bits − 1.</summary>
    private struct Watch
    {
        public Vector128<uint> Sum;
        public Vector128<ushort> Weight;
    }
}
