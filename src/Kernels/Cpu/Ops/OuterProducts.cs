using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The inner loops of attention: sums[r][j] ← start + Σ_i a[i][r] · b[i][j], i ascending, for a few rows r and vectors of 16 j.</summary>
/// <remarks>
/// Shapes   a(i, r) at a + i · aStep + r · aRow floats; vector v of b(i) at b[v] + i · stride bytes; sums of row r at sums + r · sumRow floats.
///          start is sums[r][j] itself, or 0 where fresh.
/// Numerics each sum is one chain of fused multiply-adds in ascending i, whatever the tile: a row alone, with others or in any order has the
///          same bits.
/// Cost     4 × 4: 16 multiply-adds per 4 loads of b and 4 broadcasts of a: bound by the multiply pipes, not by loads.
/// </remarks>
internal static unsafe class OuterProducts
{
    /// <summary>Rows of a tile.</summary>
    public const int Rows = 4;

    /// <summary>Vectors of a tile.</summary>
    public const int Vectors = 4;

    private const int L = VectorMath.Lanes;

    /// <summary>Four rows, up to four vectors.</summary>
    public static void Add4<TElement>(float* a, nint aStep, nint aRow, byte** b, int vectors, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        if (Vector512.IsHardwareAccelerated && vectors == Vectors)
        {
            Add4x4<TElement>(a, aStep, aRow, b[0], b[1], b[2], b[3], stride, count, sums, sumRow, fresh);
            return;
        }
        for (; vectors >= 2; vectors -= 2, b += 2, sums += 2 * L)
        {
            if (Vector512.IsHardwareAccelerated)
            {
                Add4x2<TElement>(a, aStep, aRow, b[0], b[1], stride, count, sums, sumRow, fresh);
                continue;
            }

            // 16 registers of 8 lanes hold no more than 2 × 2 vectors of 16 with their operands.
            Add2x2<TElement>(a, aStep, aRow, b[0], b[1], stride, count, sums, sumRow, fresh);
            Add2x2<TElement>(a + 2 * aRow, aStep, aRow, b[0], b[1], stride, count, sums + 2 * sumRow, sumRow, fresh);
        }
        if (vectors > 0)
            Add4x1<TElement>(a, aStep, aRow, b[0], stride, count, sums, sumRow, fresh);
    }

    /// <summary>One row, one vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add1x1<TElement>(float* a, nint aStep, byte* b, nint stride, int count, float* sums)
        where TElement : struct, IKvElement
    {
        Vector512<float> s = Vector512.Load(sums);
        for (int i = 0; i < count; i++, a += aStep, b += stride)
            s = Vector512.FusedMultiplyAdd(Vector512.Create(*a), TElement.Load(b), s);
        s.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4x1<TElement>(float* a, nint aStep, nint aRow, byte* b, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        if (!fresh)
        {
            s0 = Vector512.Load(sums);
            s1 = Vector512.Load(sums + sumRow);
            s2 = Vector512.Load(sums + 2 * sumRow);
            s3 = Vector512.Load(sums + 3 * sumRow);
        }
        for (int i = 0; i < count; i++, a += aStep, b += stride)
        {
            Vector512<float> x = TElement.Load(b);
            s0 = Vector512.FusedMultiplyAdd(Vector512.Create(a[0]), x, s0);
            s1 = Vector512.FusedMultiplyAdd(Vector512.Create(a[aRow]), x, s1);
            s2 = Vector512.FusedMultiplyAdd(Vector512.Create(a[2 * aRow]), x, s2);
            s3 = Vector512.FusedMultiplyAdd(Vector512.Create(a[3 * aRow]), x, s3);
        }
        s0.Store(sums);
        s1.Store(sums + sumRow);
        s2.Store(sums + 2 * sumRow);
        s3.Store(sums + 3 * sumRow);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add2x2<TElement>(float* a, nint aStep, nint aRow, byte* b0, byte* b1, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        Vector512<float> s00 = default, s01 = default, s10 = default, s11 = default;
        if (!fresh)
        {
            s00 = Vector512.Load(sums);
            s01 = Vector512.Load(sums + L);
            s10 = Vector512.Load(sums + sumRow);
            s11 = Vector512.Load(sums + sumRow + L);
        }
        for (int i = 0; i < count; i++, a += aStep, b0 += stride, b1 += stride)
        {
            Vector512<float> x0 = TElement.Load(b0), x1 = TElement.Load(b1);
            Vector512<float> y = Vector512.Create(a[0]);
            s00 = Vector512.FusedMultiplyAdd(y, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(y, x1, s01);
            y = Vector512.Create(a[aRow]);
            s10 = Vector512.FusedMultiplyAdd(y, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(y, x1, s11);
        }
        s00.Store(sums);
        s01.Store(sums + L);
        s10.Store(sums + sumRow);
        s11.Store(sums + sumRow + L);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4x2<TElement>(float* a, nint aStep, nint aRow, byte* b0, byte* b1, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        float* t0 = sums, t1 = sums + sumRow, t2 = t1 + sumRow, t3 = t2 + sumRow;
        Vector512<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default;
        if (!fresh)
        {
            (s00, s01) = (Vector512.Load(t0), Vector512.Load(t0 + L));
            (s10, s11) = (Vector512.Load(t1), Vector512.Load(t1 + L));
            (s20, s21) = (Vector512.Load(t2), Vector512.Load(t2 + L));
            (s30, s31) = (Vector512.Load(t3), Vector512.Load(t3 + L));
        }
        for (int i = 0; i < count; i++, a += aStep, b0 += stride, b1 += stride)
        {
            Vector512<float> x0 = TElement.Load(b0), x1 = TElement.Load(b1);
            Vector512<float> y = Vector512.Create(a[0]);
            s00 = Vector512.FusedMultiplyAdd(y, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(y, x1, s01);
            y = Vector512.Create(a[aRow]);
            s10 = Vector512.FusedMultiplyAdd(y, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(y, x1, s11);
            y = Vector512.Create(a[2 * aRow]);
            s20 = Vector512.FusedMultiplyAdd(y, x0, s20);
            s21 = Vector512.FusedMultiplyAdd(y, x1, s21);
            y = Vector512.Create(a[3 * aRow]);
            s30 = Vector512.FusedMultiplyAdd(y, x0, s30);
            s31 = Vector512.FusedMultiplyAdd(y, x1, s31);
        }
        s00.Store(t0); s01.Store(t0 + L); s10.Store(t1); s11.Store(t1 + L);
        s20.Store(t2); s21.Store(t2 + L); s30.Store(t3); s31.Store(t3 + L);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add4x4<TElement>(
        float* a, nint aStep, nint aRow, byte* b0, byte* b1, byte* b2, byte* b3, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        float* t0 = sums, t1 = sums + sumRow, t2 = t1 + sumRow, t3 = t2 + sumRow;
        float* a2 = a + 2 * aRow;
        Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default;
        Vector512<float> s10 = default, s11 = default, s12 = default, s13 = default;
        Vector512<float> s20 = default, s21 = default, s22 = default, s23 = default;
        Vector512<float> s30 = default, s31 = default, s32 = default, s33 = default;
        if (!fresh)
        {
            (s00, s01, s02, s03) = (Vector512.Load(t0), Vector512.Load(t0 + L), Vector512.Load(t0 + 2 * L), Vector512.Load(t0 + 3 * L));
            (s10, s11, s12, s13) = (Vector512.Load(t1), Vector512.Load(t1 + L), Vector512.Load(t1 + 2 * L), Vector512.Load(t1 + 3 * L));
            (s20, s21, s22, s23) = (Vector512.Load(t2), Vector512.Load(t2 + L), Vector512.Load(t2 + 2 * L), Vector512.Load(t2 + 3 * L));
            (s30, s31, s32, s33) = (Vector512.Load(t3), Vector512.Load(t3 + L), Vector512.Load(t3 + 2 * L), Vector512.Load(t3 + 3 * L));
        }
        nint at = 0;
        for (int i = 0; i < count; i++, a += aStep, a2 += aStep, at += stride)
        {
            Vector512<float> x0 = TElement.Load(b0 + at), x1 = TElement.Load(b1 + at), x2 = TElement.Load(b2 + at), x3 = TElement.Load(b3 + at);
            Vector512<float> y = Vector512.Create(a[0]);
            s00 = Vector512.FusedMultiplyAdd(y, x0, s00);
            s01 = Vector512.FusedMultiplyAdd(y, x1, s01);
            s02 = Vector512.FusedMultiplyAdd(y, x2, s02);
            s03 = Vector512.FusedMultiplyAdd(y, x3, s03);
            y = Vector512.Create(a[aRow]);
            s10 = Vector512.FusedMultiplyAdd(y, x0, s10);
            s11 = Vector512.FusedMultiplyAdd(y, x1, s11);
            s12 = Vector512.FusedMultiplyAdd(y, x2, s12);
            s13 = Vector512.FusedMultiplyAdd(y, x3, s13);
            y = Vector512.Create(a2[0]);
            s20 = Vector512.FusedMultiplyAdd(y, x0, s20);
            s21 = Vector512.FusedMultiplyAdd(y, x1, s21);
            s22 = Vector512.FusedMultiplyAdd(y, x2, s22);
            s23 = Vector512.FusedMultiplyAdd(y, x3, s23);
            y = Vector512.Create(a2[aRow]);
            s30 = Vector512.FusedMultiplyAdd(y, x0, s30);
            s31 = Vector512.FusedMultiplyAdd(y, x1, s31);
            s32 = Vector512.FusedMultiplyAdd(y, x2, s32);
            s33 = Vector512.FusedMultiplyAdd(y, x3, s33);
        }
        s00.Store(t0); s01.Store(t0 + L); s02.Store(t0 + 2 * L); s03.Store(t0 + 3 * L);
        s10.Store(t1); s11.Store(t1 + L); s12.Store(t1 + 2 * L); s13.Store(t1 + 3 * L);
        s20.Store(t2); s21.Store(t2 + L); s22.Store(t2 + 2 * L); s23.Store(t2 + 3 * L);
        s30.Store(t3); s31.Store(t3 + L); s32.Store(t3 + 2 * L); s33.Store(t3 + 3 * L);
    }
}
