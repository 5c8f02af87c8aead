using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Functions on 16 float32 lanes, and the one order in which 16 lanes are added.</summary>
/// <remarks>
/// Numerics every operation here is lane by lane with IEEE rounding and explicit fused multiply-adds, so AVX-512, AVX2, 128-bit and software
///          lanes give the same bits. Min and max of a NaN differ between machines; where it matters, operands are ordered so that a NaN survives.
/// </remarks>
internal static class VectorMath
{
    /// <summary>Lanes of a vector on every machine: Vector512 is two or four vectors where the hardware has narrower ones.</summary>
    public const int Lanes = 16;

    /// <summary>e^x; 0 below ln(2^-126), where the result would be subnormal; e^88.37 above.</summary>
    /// <remarks>
    /// Numerics relative error ≤ 1.2e-7. x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r = 1 + r + r²·P(r), P of degree 4 through Chebyshev nodes; 2^n is
    ///          added to the exponent. e^0 is exactly 1; a NaN stays a NaN.
    /// Oracle   Math.Exp, relative error ≤ 2e-7.
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        const float Lowest = -87.336544f, Highest = 88.37f, Log2E = 1.44269504f, Ln2High = 0.693359375f, Ln2Low = -2.12194440e-4f;
        const float RoundToInteger = 12582912f; // 1.5 · 2^23: adding it leaves an integer in the low bits

        // A NaN comes second: x86's min and max return their second operand then, other machines the NaN.
        Vector512<float> clamped = Vector512.MinNative(Vector512.Create(Highest), x);
        Vector512<float> shifted = Vector512.FusedMultiplyAdd(clamped, Vector512.Create(Log2E), Vector512.Create(RoundToInteger));
        Vector512<float> n = shifted - Vector512.Create(RoundToInteger);
        Vector512<float> r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-Ln2High), clamped);
        r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-Ln2Low), r);

        Vector512<float> p = Vector512.Create(0.0013926926767453551f);
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(0.008363774046301842f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(0.04166654869914055f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(0.16666573286056519f));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(0.5f));
        p = Vector512.FusedMultiplyAdd(p, r * r, r) + Vector512<float>.One;

        Vector512<float> scaled = (p.AsInt32() + (shifted.AsInt32() << 23)).AsSingle();
        return Vector512.ConditionalSelect(Vector512.LessThan(x, Vector512.Create(Lowest)), Vector512<float>.Zero, scaled);
    }

    /// <summary>The hyperbolic tangent: an odd polynomial below 0.625, 1 − 2 / (e^2|x| + 1) above.</summary>
    /// <remarks>Oracle   Math.Tanh, relative error ≤ 3e-7.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Tanh(Vector512<float> x)
    {
        Vector512<float> magnitude = Vector512.Abs(x);
        Vector512<float> sign = x ^ magnitude;

        Vector512<float> z = x * x;
        Vector512<float> p = Vector512.Create(-0.006096708122640848f);
        p = Vector512.FusedMultiplyAdd(p, z, Vector512.Create(0.020997174084186554f));
        p = Vector512.FusedMultiplyAdd(p, z, Vector512.Create(-0.05385090783238411f));
        p = Vector512.FusedMultiplyAdd(p, z, Vector512.Create(0.1333276927471161f));
        p = Vector512.FusedMultiplyAdd(p, z, Vector512.Create(-0.333333283662796f));
        Vector512<float> small = Vector512.FusedMultiplyAdd(p * z, x, x);

        Vector512<float> large = Vector512<float>.One - Vector512.Create(2f) / (Exp(magnitude + magnitude) + Vector512<float>.One);
        return Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(0.625f)), small, large ^ sign);
    }

    /// <summary>The 16 lanes added in halves: lane i with lane i + 8, then + 4, + 2, + 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> v)
    {
        Vector256<float> eight = v.GetLower() + v.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        four += Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1));
        return four.GetElement(0) + four.GetElement(1);
    }

    /// <summary>The largest lane; undefined where one is a NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Max(Vector512<float> v)
    {
        Vector256<float> eight = Vector256.MaxNative(v.GetLower(), v.GetUpper());
        Vector128<float> four = Vector128.MaxNative(eight.GetLower(), eight.GetUpper());
        four = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(1, 0, 3, 2))).ToScalar(); // no branch: it could not be predicted
    }

    /// <summary>The first <paramref name="count"/> lanes from memory, zeros behind; reads nothing else.</summary>
    [SkipLocalsInit]
    public static unsafe Vector512<float> LoadPartial(float* source, int count)
    {
        float* lanes = stackalloc float[Lanes];
        Vector512<float>.Zero.Store(lanes);
        for (int i = 0; i < count; i++)
            lanes[i] = source[i];
        return Vector512.Load(lanes);
    }

    /// <summary>The first <paramref name="count"/> lanes to memory; writes nothing else.</summary>
    [SkipLocalsInit]
    public static unsafe void StorePartial(Vector512<float> value, float* target, int count)
    {
        float* lanes = stackalloc float[Lanes];
        value.Store(lanes);
        for (int i = 0; i < count; i++)
            target[i] = lanes[i];
    }
}
