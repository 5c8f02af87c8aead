using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Layer normalisation: y = (x − mean) / sqrt(variance + ε) · w + b.</summary>
/// <remarks>
/// Numerics two passes, each into 64 partial sums, value i into sum i mod 64, which are added in halves: the mean, then by fused multiply-adds the squares of
///          what is left without it; so a row with a large mean loses no digits. y = fma((x − mean) · (1/root), w, b).
/// Source   Ba et al. 2016, eq. 4.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-12.
/// </remarks>
internal static unsafe class LayerNorm
{
    private const int ElementsWorthThreads = 32768;
    private const int L = VectorMath.Lanes, Unroll = 4;

    /// <summary>Normalises each row; y may be x.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(weight, 1, x.Columns);
        if (bias is { } vector)
            Require.Shape(vector, 1, x.Columns);
        Require.Shape(y, x.Rows, x.Columns);
        Work work = new(x, weight, bias, epsilon, y);
        threads.Run(ref work, x.Rows, Math.Max(1, ElementsWorthThreads / Math.Max(1, x.Columns)));
    }

    /// <summary>Σ x, or Σ (x − mean)² where squares are asked for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float* values, int count, float mean, bool squares)
    {
        Vector512<float> m = Vector512.Create(mean), s0 = default, s1 = default, s2 = default, s3 = default;
        for (int i = 0, part = 0; i < count; i += L, part = (part + 1) % Unroll)
        {
            Vector512<float> v = count - i >= L ? Vector512.Load(values + i) : VectorMath.LoadPartial(values + i, count - i);
            if (squares)
            {
                v -= m;
                if (count - i < L) // lanes behind the row hold −mean, which is none of its values
                    v = Vector512.ConditionalSelect(Vector512.LessThan(Vector512<float>.Indices, Vector512.Create((float)(count - i))), v, Vector512<float>.Zero);
            }
            switch (part)
            {
                case 0: s0 = squares ? Vector512.FusedMultiplyAdd(v, v, s0) : s0 + v; break;
                case 1: s1 = squares ? Vector512.FusedMultiplyAdd(v, v, s1) : s1 + v; break;
                case 2: s2 = squares ? Vector512.FusedMultiplyAdd(v, v, s2) : s2 + v; break;
                default: s3 = squares ? Vector512.FusedMultiplyAdd(v, v, s3) : s3 + v; break;
            }
        }
        return VectorMath.Sum((s0 + s1) + (s2 + s3));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Apply(float* x, float mean, float factor, float* w, float* b, float* y, int count)
    {
        Vector512<float> m = Vector512.Create(mean), f = Vector512.Create(factor);
        int i = 0;
        for (; i <= count - L; i += L)
        {
            Vector512<float> scaled = (Vector512.Load(x + i) - m) * f;
            (b is null ? scaled * Vector512.Load(w + i) : Vector512.FusedMultiplyAdd(scaled, Vector512.Load(w + i), Vector512.Load(b + i))).Store(y + i);
        }
        for (; i < count; i++)
        {
            float scaled = (x[i] - mean) * factor;
            y[i] = b is null ? scaled * w[i] : MathF.FusedMultiplyAdd(scaled, w[i], b[i]);
        }
    }

    private readonly struct Work(Tensor x, Tensor weight, Tensor? bias, float epsilon, Tensor y) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            int dim = x.Columns;
            float* b = bias is { } vector ? vector.HostRow<float>(0) : null;
            for (int row = first; row < end; row++)
            {
                float* source = x.HostRow<float>(row);
                float mean = Sum(source, dim, 0f, squares: false) / dim;
                float root = MathF.Sqrt((Sum(source, dim, mean, squares: true) / dim) + epsilon);
                Apply(source, mean, 1f / root, weight.HostRow<float>(0), b, y.HostRow<float>(row), dim);
            }
        }
    }
}
