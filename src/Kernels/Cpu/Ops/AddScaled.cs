using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>x ← x + scale · y, one fused multiply-add each.</summary>
/// <remarks>Oracle   the reference backend: equal bit for bit.</remarks>
internal static class AddScaled
{
    /// <summary>Adds in place.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor x, Tensor y, float scale)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        Elementwise.Run(threads, new Function(scale), x, y, x);
    }

    private readonly struct Function(float scale) : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Vector512.FusedMultiplyAdd(Vector512.Create(scale), b, a);
    }
}
