using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>Root-mean-square norms: of whole groups at once, or in two halves where a row is spread over ranks.</summary>
/// <remarks>
/// Numerics squares go by fused multiply-add into 64 partial sums, value i into sum i mod 64, which are added in halves; y = (x · (1/root)) · w.
/// Source   Zhang and Sennrich 2019, eq. 4.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-12.
/// </remarks>
internal static unsafe class RmsNorm
{
    private const int ElementsWorthThreads = 32768;
    private const int Unroll = 4;

    /// <summary>y = x / sqrt(mean(x²) + ε) · w for each group of weight.Columns values; y may be x.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Run(CpuThreads threads, Tensor x, Tensor weight, float epsilon, Tensor y)
    {
        int dim = weight.Columns;
        Require.Shape(weight, 1, dim);
        Require.Groups(x, dim);
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        NormWork work = new(x, weight, epsilon, y);
        threads.Run(ref work, x.Rows, Grain(x));
    }

    /// <summary>x ← x + scale · y, then normed = x / sqrt(mean(x²) + ε) · w: a row is added and normed while it is in the cache.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void AddNorm(CpuThreads threads, Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed)
    {
        Require.Shape(weight, 1, x.Columns);
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        Require.Shape(normed, x.Rows, x.Columns);
        AddNormWork work = new(x, y, scale, new NormWork(x, weight, epsilon, normed));
        threads.Run(ref work, x.Rows, Grain(x));
    }

    /// <summary>sums[r, g] = Σ x² over each group of dim values.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void SumSquares(CpuThreads threads, Tensor x, int dim, Tensor sums)
    {
        Require.Groups(x, dim);
        Require.Type(x, ElementType.Float32);
        Require.Shape(sums, x.Rows, x.Columns / dim);
        SumWork work = new(x, dim, sums);
        threads.Run(ref work, x.Rows, Grain(x));
    }

    /// <summary>x ← x / sqrt(Σ_g sums[r, g] / totalColumns + ε) · w.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void NormBySums(CpuThreads threads, Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(sums, x.Rows, sums.Columns);
        Require.Shape(weight, 1, x.Columns);
        Require.That(sums.Columns > 0 && totalColumns >= x.Columns, $"{sums.Columns} sums over {totalColumns} columns cannot norm {x}.");
        ScaleWork work = new(x, sums, totalColumns, weight, epsilon);
        threads.Run(ref work, x.Rows, Grain(x));
    }

    private static int Grain(Tensor x) => Math.Max(1, ElementsWorthThreads / Math.Max(1, x.Columns));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float SquareSum(float* values, int count)
    {
        const int L = VectorMath.Lanes;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int i = 0;
        for (; i <= count - Unroll * L; i += Unroll * L)
        {
            Vector512<float> a = Vector512.Load(values + i), b = Vector512.Load(values + i + L);
            Vector512<float> c = Vector512.Load(values + i + 2 * L), d = Vector512.Load(values + i + 3 * L);
            s0 = Vector512.FusedMultiplyAdd(a, a, s0);
            s1 = Vector512.FusedMultiplyAdd(b, b, s1);
            s2 = Vector512.FusedMultiplyAdd(c, c, s2);
            s3 = Vector512.FusedMultiplyAdd(d, d, s3);
        }
        for (int part = 0; i < count; i += L, part++)
        {
            Vector512<float> a = count - i >= L ? Vector512.Load(values + i) : VectorMath.LoadPartial(values + i, count - i);
            switch (part)
            {
                case 0: s0 = Vector512.FusedMultiplyAdd(a, a, s0); break;
                case 1: s1 = Vector512.FusedMultiplyAdd(a, a, s1); break;
                case 2: s2 = Vector512.FusedMultiplyAdd(a, a, s2); break;
                default: s3 = Vector512.FusedMultiplyAdd(a, a, s3); break;
            }
        }
        return VectorMath.Sum((s0 + s1) + (s2 + s3));
    }

    /// <summary>y = (x · factor) · w.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Apply(float* x, float factor, float* w, float* y, int count)
    {
        Vector512<float> f = Vector512.Create(factor);
        int i = 0;
        for (; i <= count - VectorMath.Lanes; i += VectorMath.Lanes)
            (Vector512.Load(x + i) * f * Vector512.Load(w + i)).Store(y + i);
        for (; i < count; i++)
            y[i] = x[i] * factor * w[i];
    }

    private readonly struct NormWork(Tensor x, Tensor weight, float epsilon, Tensor y) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            int dim = weight.Columns;
            float* w = weight.HostRow<float>(0);
            for (int row = first; row < end; row++)
            {
                float* source = x.HostRow<float>(row);
                float* target = y.HostRow<float>(row);
                for (int group = 0; group < x.Columns; group += dim)
                {
                    float root = MathF.Sqrt(SquareSum(source + group, dim) / dim + epsilon);
                    Apply(source + group, 1f / root, w, target + group, dim);
                }
            }
        }
    }

    private readonly struct AddNormWork(Tensor x, Tensor y, float scale, NormWork norm) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int row = first; row < end; row++)
            {
                AddScaled.Add(x.HostRow<float>(row), y.HostRow<float>(row), scale, x.Columns);
                norm.Execute(row, row + 1, thread);
            }
        }
    }

    private readonly struct SumWork(Tensor x, int dim, Tensor sums) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int row = first; row < end; row++)
            {
                float* source = x.HostRow<float>(row);
                float* target = sums.HostRow<float>(row);
                for (int group = 0; group < sums.Columns; group++)
                    target[group] = SquareSum(source + group * dim, dim);
            }
        }
    }

    private readonly struct ScaleWork(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            float* w = weight.HostRow<float>(0);
            for (int row = first; row < end; row++)
            {
                float sum = Reference.ReferenceNorms.TreeSum(sums.HostSpan<float>(row));
                float root = MathF.Sqrt(sum / totalColumns + epsilon);
                float* values = x.HostRow<float>(row);
                Apply(values, 1f / root, w, values, x.Columns);
            }
        }
    }
}
