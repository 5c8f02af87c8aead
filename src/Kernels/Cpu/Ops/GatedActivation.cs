using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>y[:, i] = act(x[:, i]) · x[:, m + i].</summary>
/// <remarks>
/// Numerics GeLU-tanh as x · sigmoid(2u), u = √(2/π)·(x + 0.044715·x³), which is the same function and does not cancel where tanh(u) is near −1.
/// Source   Shazeer 2020; Hendrycks and Gimpel 2016.
/// Oracle   the reference backend, NMSE ≤ 1e-13.
/// </remarks>
internal static class GatedActivation
{
    /// <summary>Applies the activation to the left half and multiplies with the right one.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor x, Activation activation, Tensor y)
    {
        Require.Type(y, ElementType.Float32);
        Require.Shape(x, y.Rows, 2 * y.Columns);
        Tensor gate = x.ColumnSlice(0, y.Columns), up = x.ColumnSlice(y.Columns, y.Columns);
        switch (activation)
        {
            case Activation.Silu: Elementwise.Run(threads, default(Silu), gate, up, y); break;
            case Activation.GeluTanh: Elementwise.Run(threads, default(GeluTanh), gate, up, y); break;
            default: throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation");
        }
    }

    /// <summary>gate[i] ← act(gate[i]) · up[i] for a multiple of 16 values.</summary>
    /// <remarks>Numerics the bits of <see cref="Run"/>.</remarks>
    public static unsafe void InPlace(Activation activation, float* gate, float* up, int count)
    {
        if (activation == Activation.Silu)
            InPlace(default(Silu), gate, up, count);
        else
            InPlace(default(GeluTanh), gate, up, count);
    }

    /// <summary>The activation of an expert on a multiple of 16 values: gate[i] becomes down's input.</summary>
    public static unsafe void InPlace(ExpertActivation activation, float* gate, float* up, int count)
    {
        if (activation.Alpha == 0f)
            InPlace(activation.Function, gate, up, count);
        else
            InPlace(new ClampedSwish(activation.Alpha, activation.Limit), gate, up, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void InPlace<TFunction>(TFunction function, float* gate, float* up, int count)
        where TFunction : struct, IElementFunction
    {
        for (int i = 0; i < count; i += VectorMath.Lanes)
            function.Apply(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(gate + i);
    }

    /// <summary>x · sigmoid(z).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> TimesSigmoid(Vector512<float> x, Vector512<float> z) => x / (VectorMath.Exp(-z) + Vector512<float>.One);

    private readonly struct Silu : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => TimesSigmoid(a, a) * b;
    }

    private readonly struct ClampedSwish(float alpha, float limit) : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b)
        {
            // The value comes second, so that a NaN survives.
            Vector512<float> most = Vector512.Create(limit), gate = Vector512.MinNative(most, a), up = Vector512.MaxNative(-most, Vector512.MinNative(most, b));
            return TimesSigmoid(gate, gate * Vector512.Create(alpha)) * (up + Vector512<float>.One);
        }
    }

    /// <summary>GeLU-tanh of each lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> GeluTanhOf(Vector512<float> a)
    {
        const float TwiceRoot = 1.5957691216f; // 2·√(2/π)
        Vector512<float> cubic = Vector512.FusedMultiplyAdd(a * a, Vector512.Create(0.044715f * TwiceRoot), Vector512.Create(TwiceRoot));
        return TimesSigmoid(a, cubic * a);
    }

    private readonly struct GeluTanh : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => GeluTanhOf(a) * b;
    }
}
