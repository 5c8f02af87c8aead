using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>x ← x + bias on every row.</summary>
/// <remarks>Oracle   the reference backend: equal bit for bit.</remarks>
internal static class AddRow
{
    /// <summary>Adds in place.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor x, Tensor bias)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(bias, 1, x.Columns);
        Elementwise.Run(threads, default(Function), x, bias, x);
    }

    private readonly struct Function : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => a + b;
    }
}
