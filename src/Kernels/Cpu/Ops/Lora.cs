using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The two products of a low-rank adapter, in float32: t = A · x by leaves, then y ← y + B · (scale · t).</summary>
/// <remarks>
/// Numerics down: a leaf's products go by fused multiply-add into 64 partial sums, product i of the leaf into sum i mod 64, which are added in halves; leaves are merged as the
///          schedule says. Up: every output by itself, over the ranks in ascending order from 0, then one addition to y. So neither rows, threads, instruction set nor split
///          change a bit, and rows that are not named are not touched.
/// Cost     A and B are read once a row from the cache, once a step from memory where a step has few rows.
/// Source   Hu et al. 2021, §4.1.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-10.
/// </remarks>
internal static unsafe class Lora
{
    private const int ProductsWorthThreads = 65536;
    private const int SegmentColumns = 512;
    private const int MostDepth = 32; // of the merge stack: leaves are int

    /// <summary>As <see cref="ITensorBackend.LoraDown"/>.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Down(CpuThreads threads, Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total)
    {
        LoraShapes.RequireDown(x, rows, a, leaves, pieces, first, total);
        DownWork work = new(x, rows, a, leaves, pieces, first, total);
        threads.Run(ref work, rows.Length * a.Rows, Math.Max(1, ProductsWorthThreads / Math.Max(1, a.Columns)));
    }

    /// <summary>As <see cref="ITensorBackend.LoraUp"/>.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Up(CpuThreads threads, Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y)
    {
        LoraShapes.RequireUp(t, rows, b, y);
        int segments = (y.Columns + SegmentColumns - 1) / SegmentColumns;
        UpWork work = new(t, rows, firstRow, b, scale, y, segments);
        threads.Run(ref work, rows.Length * segments, Math.Max(1, ProductsWorthThreads / (SegmentColumns * Math.Max(1, b.Rows))));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Dot(float* x, float* a, int count)
    {
        const int L = VectorMath.Lanes;
        Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
        int i = 0;
        for (; i <= count - 4 * L; i += 4 * L)
        {
            s0 = Vector512.FusedMultiplyAdd(Vector512.Load(x + i), Vector512.Load(a + i), s0);
            s1 = Vector512.FusedMultiplyAdd(Vector512.Load(x + i + L), Vector512.Load(a + i + L), s1);
            s2 = Vector512.FusedMultiplyAdd(Vector512.Load(x + i + 2 * L), Vector512.Load(a + i + 2 * L), s2);
            s3 = Vector512.FusedMultiplyAdd(Vector512.Load(x + i + 3 * L), Vector512.Load(a + i + 3 * L), s3);
        }
        for (int part = 0; i < count; i += L, part++)
        {
            Vector512<float> u = count - i >= L ? Vector512.Load(x + i) : VectorMath.LoadPartial(x + i, count - i);
            Vector512<float> v = count - i >= L ? Vector512.Load(a + i) : VectorMath.LoadPartial(a + i, count - i);
            switch (part)
            {
                case 0: s0 = Vector512.FusedMultiplyAdd(u, v, s0); break;
                case 1: s1 = Vector512.FusedMultiplyAdd(u, v, s1); break;
                case 2: s2 = Vector512.FusedMultiplyAdd(u, v, s2); break;
                default: s3 = Vector512.FusedMultiplyAdd(u, v, s3); break;
            }
        }
        return VectorMath.Sum((s0 + s1) + (s2 + s3));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddProducts(float* t, int ranks, float* b, int stride, float scale, float* y, int count)
    {
        const int L = VectorMath.Lanes;
        int i = 0;
        for (; i <= count - 2 * L; i += 2 * L)
        {
            Vector512<float> s0 = default, s1 = default;
            float* column = b + i;
            for (int rank = 0; rank < ranks; rank++, column += stride)
            {
                Vector512<float> factor = Vector512.Create(scale * t[rank]);
                s0 = Vector512.FusedMultiplyAdd(Vector512.Load(column), factor, s0);
                s1 = Vector512.FusedMultiplyAdd(Vector512.Load(column + L), factor, s1);
            }
            (Vector512.Load(y + i) + s0).Store(y + i);
            (Vector512.Load(y + i + L) + s1).Store(y + i + L);
        }
        for (; i < count; i++)
        {
            float sum = 0f;
            for (int rank = 0; rank < ranks; rank++)
                sum = MathF.FusedMultiplyAdd(b[((long)rank * stride) + i], scale * t[rank], sum);
            y[i] += sum;
        }
    }

    private readonly struct DownWork(Tensor x, ReadOnlyMemory<int> rows, Tensor a, InputLeaves leaves, Tensor pieces, int first, int total) : IParallelWork
    {
        public void Execute(int firstItem, int end, int thread)
        {
            float* stack = stackalloc float[MostDepth];
            ReadOnlySpan<int> of = rows.Span;
            int ranks = a.Rows, from = leaves.Boundaries[0];
            for (int item = firstItem; item < end; item++)
            {
                // Rows inside ranks: a row of A serves all of them from the cache.
                int rank = item / of.Length, index = item % of.Length, depth = 0;
                float* values = x.HostRow<float>(of[index]), factors = a.HostRow<float>(rank);
                for (int leaf = 0; leaf < leaves.Count; leaf++)
                {
                    int start = leaves.Boundaries[leaf] - from;
                    stack[depth++] = Dot(values + start, factors + start, leaves.Boundaries[leaf + 1] - from - start);
                    for (int merge = leaves.Merges[leaf]; merge > 0; merge--, depth--)
                        stack[depth - 2] += stack[depth - 1];
                }
                for (int piece = 0; piece < depth; piece++)
                {
                    float* target = pieces.HostRow<float>((piece * total) + first + index);
                    target[rank] = stack[piece];
                    if (rank == ranks - 1)
                        new Span<float>(target + ranks, pieces.Columns - ranks).Clear();
                }
            }
        }
    }

    private readonly struct UpWork(Tensor t, ReadOnlyMemory<int> rows, int firstRow, Tensor b, float scale, Tensor y, int segments) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            for (int item = first; item < end; item++)
            {
                int index = item / segments, start = item % segments * SegmentColumns;
                AddProducts(
                    t.HostRow<float>(index), b.Rows, b.HostRow<float>(0) + start, b.RowStride, scale, y.HostRow<float>(rows.Span[index] - firstRow) + start,
                    Math.Min(SegmentColumns, y.Columns - start));
            }
        }
    }
}
