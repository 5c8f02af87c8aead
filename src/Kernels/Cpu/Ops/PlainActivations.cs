using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>x ← f(x): the activations of MLPs without a gate.</summary>
/// <remarks>
/// Numerics GeLU as x · (1 − h) above 0 and x · h below, h = erfc(|x|/√2) / 2 as t · P(t) · e^(−x²/2), t = 1 / (1 + p·|x|/√2): nothing cancels.
/// Source   Hendrycks and Gimpel 2016; the error function: Abramowitz and Stegun, 7.1.26, absolute error ≤ 1.5e-7.
/// Oracle   the reference backend, NMSE ≤ 1e-13.
/// </remarks>
internal static class PlainActivations
{
    /// <summary>Applies the activation in place.</summary>
    /// <exception cref="ArgumentException">x holds no float32.</exception>
    public static void Run(CpuThreads threads, Tensor x, PlainActivation activation)
    {
        Require.Type(x, ElementType.Float32);
        switch (activation)
        {
            case PlainActivation.Gelu: Elementwise.Run(threads, default(Gelu), x, x, x); break;
            case PlainActivation.GeluTanh: Elementwise.Run(threads, default(GeluTanh), x, x, x); break;
            default: throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation");
        }
    }

    private readonly struct Gelu : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b)
        {
            Vector512<float> one = Vector512<float>.One;
            Vector512<float> z = Vector512.Abs(a) * Vector512.Create(0.70710678f);
            Vector512<float> t = one / Vector512.FusedMultiplyAdd(z, Vector512.Create(0.3275911f), one);
            Vector512<float> p = Vector512.Create(0.5f * 1.061405429f);
            p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(0.5f * -1.453152027f));
            p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(0.5f * 1.421413741f));
            p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(0.5f * -0.284496736f));
            p = Vector512.FusedMultiplyAdd(p, t, Vector512.Create(0.5f * 0.254829592f));
            Vector512<float> tail = p * t * VectorMath.Exp(-(z * z));
            return a * Vector512.ConditionalSelect(Vector512.LessThan(a, Vector512<float>.Zero), tail, one - tail);
        }
    }

    private readonly struct GeluTanh : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => GatedActivation.GeluTanhOf(a);
    }
}
