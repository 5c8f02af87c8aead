using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>x ← scale · x.</summary>
/// <remarks>Oracle   the reference backend: equal bit for bit.</remarks>
internal static class Scale
{
    /// <summary>Multiplies in place.</summary>
    public static void Run(CpuThreads threads, Tensor x, float scale)
    {
        Require.Type(x, ElementType.Float32);
        Elementwise.Run(threads, new Function(scale), x, x, x);
    }

    private readonly struct Function(float scale) : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => a * Vector512.Create(scale);
    }
}
