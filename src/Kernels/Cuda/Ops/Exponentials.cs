using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>Functions made of e^x, for kernels.</summary>
/// <remarks>Numerics every step is an instruction whose rounding is fixed, so a function has the same bits in every kernel.</remarks>
internal static class Exponentials
{
    private const float Log2E = 1.44269504f, Log2ELow = 1.92596303e-8f, Ln2 = 0.69314718f;

    /// <summary>e^x: +∞ above 88.7, 0 where the result would be subnormal; a NaN stays a NaN.</summary>
    /// <remarks>
    /// Numerics 2^t with t = x · log2(e) rounded, times 1 + ln 2 · (what the rounding lost): a few units in the last place over the whole range.
    /// Oracle   Math.Exp, relative error ≤ 4e-7.
    /// </remarks>
    public static float Exp(float x)
    {
        float t = DeviceMath.Multiply(x, Log2E);
        float lost = DeviceMath.Fma(x, Log2ELow, DeviceMath.Fma(x, Log2E, -t));
        float power = DeviceMath.Exp2(t);
        power = DeviceMath.Fma(DeviceMath.Multiply(lost, Ln2), power, power);
        power = x > 88.7f ? float.PositiveInfinity : power;
        return x < -87.33f ? 0f : power;
    }

    /// <summary>x · sigmoid(z).</summary>
    public static float TimesSigmoid(float x, float z) => DeviceMath.Divide(x, DeviceMath.Add(Exp(-z), 1f));

    /// <summary>The hyperbolic tangent: an odd polynomial below 0.625, 1 − 2 / (e^2|x| + 1) above.</summary>
    /// <remarks>Oracle   Math.Tanh, relative error ≤ 5e-7.</remarks>
    public static float Tanh(float x)
    {
        float magnitude = x < 0f ? -x : x;
        float z = DeviceMath.Multiply(x, x);
        float p = DeviceMath.Fma(-0.006096708122640848f, z, 0.020997174084186554f);
        p = DeviceMath.Fma(p, z, -0.05385090783238411f);
        p = DeviceMath.Fma(p, z, 0.1333276927471161f);
        p = DeviceMath.Fma(p, z, -0.333333283662796f);
        float small = DeviceMath.Fma(DeviceMath.Multiply(p, z), x, x);
        float large = DeviceMath.Add(1f, -DeviceMath.Divide(2f, DeviceMath.Add(Exp(DeviceMath.Add(magnitude, magnitude)), 1f)));
        large = x < 0f ? -large : large;
        return magnitude < 0.625f ? small : large;
    }
}
