using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>x ← cap · tanh(x / cap).</summary>
/// <remarks>Oracle   the reference backend, NMSE ≤ 1e-13.</remarks>
internal static class Softcap
{
    /// <summary>Caps in place.</summary>
    /// <exception cref="ArgumentException">The cap is not positive.</exception>
    public static void Run(CpuThreads threads, Tensor x, float cap)
    {
        Require.Type(x, ElementType.Float32);
        Require.That(cap > 0, $"A soft cap of {cap} is not positive.");
        Elementwise.Run(threads, new Function(cap), x, x, x);
    }

    private readonly struct Function(float cap) : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) =>
            VectorMath.Tanh(a / Vector512.Create(cap)) * Vector512.Create(cap);
    }
}
