using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>A function of two elements, on 16 lanes at once.</summary>
internal interface IElementFunction
{
    /// <summary>The lanes of f(a, b).</summary>
    Vector512<float> Apply(Vector512<float> a, Vector512<float> b);
}

/// <summary>target[r, i] = f(a[r, i], b[r, i]) over whole tensors, cut into segments that threads share.</summary>
/// <remarks>
/// Shapes   a, b, target [n, columns], strided as they like; b may have one row that serves all.
/// Numerics every element by itself: neither threads, rows nor the place in a row change a bit.
/// </remarks>
internal static class Elementwise
{
    private const int SegmentColumns = 2048;

    /// <summary>Below this many elements a second thread costs more than it saves.</summary>
    private const int ElementsWorthThreads = 16384;

    /// <summary>Runs the function over all rows; the shapes were checked by the caller.</summary>
    public static void Run<TFunction>(CpuThreads threads, TFunction function, Tensor a, Tensor b, Tensor target)
        where TFunction : struct, IElementFunction
    {
        if (target.Rows == 0 || target.Columns == 0)
            return;
        int segments = (target.Columns + SegmentColumns - 1) / SegmentColumns;
        int grain = Math.Max(1, ElementsWorthThreads / Math.Min(target.Columns, SegmentColumns));
        Work<TFunction> work = new(function, a, b, target, segments);
        threads.Run(ref work, target.Rows * segments, grain);
    }

    private readonly unsafe struct Work<TFunction>(TFunction function, Tensor a, Tensor b, Tensor target, int segments) : IParallelWork
        where TFunction : struct, IElementFunction
    {
        public void Execute(int first, int end, int thread)
        {
            for (int item = first; item < end; item++)
            {
                int row = item / segments, start = item % segments * SegmentColumns;
                int count = Math.Min(SegmentColumns, target.Columns - start);
                Segment(
                    function, a.HostRow<float>(row) + start, b.HostRow<float>(b.Rows == 1 ? 0 : row) + start, target.HostRow<float>(row) + start, count);
            }
        }

    }

    /// <summary>z[i] = f(x[i], y[i]) for one run of elements.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Segment<TFunction>(TFunction f, float* x, float* y, float* z, int count)
        where TFunction : struct, IElementFunction
    {
        int i = 0;
        for (; i <= count - VectorMath.Lanes; i += VectorMath.Lanes)
            f.Apply(Vector512.Load(x + i), Vector512.Load(y + i)).Store(z + i);
        if (i < count)
        {
            Vector512<float> tail = f.Apply(VectorMath.LoadPartial(x + i, count - i), VectorMath.LoadPartial(y + i, count - i));
            VectorMath.StorePartial(tail, z + i, count - i);
        }
    }
}

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

    /// <summary>The same for one row.</summary>
    public static unsafe void Add(float* x, float* y, float scale, int count) => Elementwise.Segment(new Function(scale), x, y, x, count);

    private readonly struct Function(float scale) : IElementFunction
    {
        public Vector512<float> Apply(Vector512<float> a, Vector512<float> b) => Vector512.FusedMultiplyAdd(Vector512.Create(scale), b, a);
    }
}

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
