using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using View = ILGPU.ArrayView<float>;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>Root-mean-square norms: of whole groups at once, with the residual sum before them, or in two halves where a row is spread over ranks.</summary>
/// <remarks>
/// Shapes   as <see cref="ITensorBackend"/> states them; float32, strided as they like.
/// Launch   one group of threads per row and group of values; 128 threads, 512 above 1024 values. NormBySums: at most 1024 sums a row.
/// Numerics each thread squares every (4 · threads)th quad by fused multiply-adds, then <see cref="GroupSum"/>; so the order depends on the group's
///          length alone. y = (x · (1/root)) · w; division and root are correctly rounded.
/// Cost     reads x once from memory and once from the cache, writes it once: memory bound, at a few rows bound by its latency.
/// Source   Zhang and Sennrich 2019, eq. 4, with ε inside the root.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-12.
/// </remarks>
internal sealed class NormKernels(CudaQueue queue)
{
    private const int MostSums = 1024;

    private readonly Action<KernelConfig, View, View, View, int, int, int, int, float, int> _rmsNorm =
        queue.Load<View, View, View, int, int, int, int, float, int>(RmsNormKernel);

    private readonly Action<KernelConfig, View, View, View, View, int, int, int, int, float, float, int> _addNorm =
        queue.Load<View, View, View, View, int, int, int, int, float, float, int>(AddNormKernel);

    private readonly Action<KernelConfig, View, View, int, int, int, int, int> _sumSquares =
        queue.Load<View, View, int, int, int, int, int>(SumSquaresKernel);

    private readonly Action<KernelConfig, View, View, View, int, int, int, int, float, float, int> _normBySums =
        queue.Load<View, View, View, int, int, int, int, float, float, int>(NormBySumsKernel);

    /// <summary>y = x / sqrt(mean(x²) + ε) · w for each group of weight.Columns values; y may be x.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y)
    {
        int dim = weight.Columns;
        Require.Shape(weight, 1, dim);
        Require.Groups(x, dim);
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        int groups = x.Columns / dim;
        if (x.Rows * groups > 0)
            _rmsNorm((x.Rows * groups, Threads(dim)), x.View<float>(), weight.View<float>(), y.View<float>(), groups, dim, x.RowStride, y.RowStride, epsilon, Aligned(dim, x, weight, y));
    }

    /// <summary>x ← x + scale · y, then normed = RMS norm of x.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed)
    {
        int dim = x.Columns;
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, dim);
        Require.Shape(weight, 1, dim);
        Require.Shape(normed, x.Rows, dim);
        if (x.Rows > 0 && dim > 0)
            _addNorm((x.Rows, Threads(dim)), x.View<float>(), y.View<float>(), weight.View<float>(), normed.View<float>(), dim, x.RowStride, y.RowStride, normed.RowStride, scale, epsilon, Aligned(dim, x, y, weight, normed));
    }

    /// <summary>sums[r, g] = Σ x² over each group of dim values.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void SumSquares(Tensor x, int dim, Tensor sums)
    {
        Require.Groups(x, dim);
        Require.Type(x, ElementType.Float32);
        Require.Shape(sums, x.Rows, x.Columns / dim);
        int groups = sums.Columns;
        if (x.Rows * groups > 0)
            _sumSquares((x.Rows * groups, Threads(dim)), x.View<float>(), sums.View<float>(), groups, dim, x.RowStride, sums.RowStride, Aligned(dim, x));
    }

    /// <summary>x ← x / sqrt(Σ_g sums[r, g] / totalColumns + ε) · w.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(sums, x.Rows, sums.Columns);
        Require.Shape(weight, 1, x.Columns);
        Require.That(sums.Columns > 0 && totalColumns >= x.Columns, $"{sums.Columns} sums over {totalColumns} columns cannot norm {x}.");
        Require.That(sums.Columns <= MostSums, $"{sums.Columns} sums a row, the limit is {MostSums}.");
        if (x.Rows > 0 && x.Columns > 0)
            _normBySums((x.Rows, Threads(x.Columns)), x.View<float>(), sums.View<float>(), weight.View<float>(), x.Columns, sums.Columns, x.RowStride, sums.RowStride, totalColumns, epsilon, Aligned(x.Columns, x, weight));
    }

    /// <summary>Threads of a group: a function of the values' number alone, as the order of the sum is.</summary>
    private static int Threads(int dim) => dim <= 1024 ? 128 : 512;

    private static int Aligned(int dim, params ReadOnlySpan<Tensor> tensors)
    {
        bool aligned = dim % FloatQuad.Count == 0;
        foreach (Tensor tensor in tensors)
            aligned &= DeviceViews.IsAligned(tensor, FloatQuad.Count * sizeof(float));
        return aligned ? 1 : 0;
    }

    [DeviceKernel(Uses = "ld.global.v4")]
    private static void RmsNormKernel(View x, View w, View y, int groups, int dim, int strideX, int strideY, float epsilon, int aligned)
    {
        int row = Grid.IdxX / groups, column = Grid.IdxX % groups * dim;
        int from = row * strideX + column, to = row * strideY + column;

        // 1. Each thread squares its quads of the group; every thread needs the total.
        float factor = Factor(GroupSum.Of(SquareSum(x, from, dim, aligned)), dim, epsilon);

        // 2. Scale.
        for (int i = FloatQuad.Count * Group.IdxX; i < dim; i += FloatQuad.Count * Group.DimX)
            FloatQuad.Store(y, to, i, dim, aligned, FloatQuad.Scaled(FloatQuad.Load(x, from, i, dim, aligned), factor, FloatQuad.Load(w, 0, i, dim, aligned)));
    }

    [DeviceKernel(Uses = "ld.global.v4")]
    private static void AddNormKernel(View x, View y, View w, View normed, int dim, int strideX, int strideY, int strideNormed, float scale, float epsilon, int aligned)
    {
        int sum = Grid.IdxX * strideX, addend = Grid.IdxX * strideY, target = Grid.IdxX * strideNormed;

        // 1. The residual sum, as AddScaled has it, and its squares, in the order RmsNorm has.
        float squares = 0f;
        for (int i = FloatQuad.Count * Group.IdxX; i < dim; i += FloatQuad.Count * Group.DimX)
        {
            FloatQuad quad = FloatQuad.AddScaled(FloatQuad.Load(x, sum, i, dim, aligned), scale, FloatQuad.Load(y, addend, i, dim, aligned));
            FloatQuad.Store(x, sum, i, dim, aligned, quad);
            squares = FloatQuad.AddSquares(quad, squares);
        }
        float factor = Factor(GroupSum.Of(squares), dim, epsilon);

        // 2. Scale. A thread reads back only what it wrote itself.
        for (int i = FloatQuad.Count * Group.IdxX; i < dim; i += FloatQuad.Count * Group.DimX)
            FloatQuad.Store(normed, target, i, dim, aligned, FloatQuad.Scaled(FloatQuad.Load(x, sum, i, dim, aligned), factor, FloatQuad.Load(w, 0, i, dim, aligned)));
    }

    [DeviceKernel(Uses = "ld.global.v4")]
    private static void SumSquaresKernel(View x, View sums, int groups, int dim, int strideX, int strideSums, int aligned)
    {
        int row = Grid.IdxX / groups, group = Grid.IdxX % groups;
        float sum = GroupSum.Of(SquareSum(x, row * strideX + group * dim, dim, aligned));
        if (Group.IsFirstThread)
            sums[row * strideSums + group] = sum;
    }

    [DeviceKernel(Uses = "ld.global.v4")]
    private static void NormBySumsKernel(View x, View sums, View w, int columns, int leaves, int strideX, int strideSums, float totalColumns, float epsilon, int aligned)
    {
        int row = Grid.IdxX * strideX;
        float factor = Factor(TreeSum(sums, Grid.IdxX * strideSums, leaves), totalColumns, epsilon);
        for (int i = FloatQuad.Count * Group.IdxX; i < columns; i += FloatQuad.Count * Group.DimX)
            FloatQuad.Store(x, row, i, columns, aligned, FloatQuad.Scaled(FloatQuad.Load(x, row, i, columns, aligned), factor, FloatQuad.Load(w, 0, i, columns, aligned)));
    }

    /// <summary>This thread's part of Σ x².</summary>
    private static float SquareSum(View x, int from, int dim, int aligned)
    {
        float sum = 0f;
        for (int i = FloatQuad.Count * Group.IdxX; i < dim; i += FloatQuad.Count * Group.DimX)
            sum = FloatQuad.AddSquares(FloatQuad.Load(x, from, i, dim, aligned), sum);
        return sum;
    }

    /// <summary>1 / sqrt(sum / count + ε).</summary>
    private static float Factor(float sum, float count, float epsilon) =>
        DeviceMath.Divide(1f, DeviceMath.Sqrt(DeviceMath.Add(DeviceMath.Divide(sum, count), epsilon)));

    /// <summary>The canonical balanced tree on every thread: halves, the larger one left. All threads of the group call it, once.</summary>
    /// <remarks>
    /// A leaf's slot is its path from the root: one bit a level, 1 = right. A level then adds neighbours. Slots without a leaf hold +0, which changes
    /// no sum of squares.
    /// </remarks>
    private static float TreeSum(View sums, int from, int count)
    {
        View slots = SharedMemory.Allocate<float>(MostSums);
        int width = 1;
        while (width < count)
            width *= 2;

        // 1. Every slot follows its path down: what is left there is one leaf or none.
        for (int slot = Group.IdxX; slot < width; slot += Group.DimX)
        {
            int first = 0, length = count;
            for (int bit = width / 2; bit > 0; bit /= 2)
            {
                int left = (length + 1) / 2;
                bool right = (slot & bit) != 0;
                first += right ? left : 0;
                length = right ? length - left : left;
            }
            slots[slot] = length == 0 ? 0f : sums[from + first];
        }

        // 2. The levels, from the leaves to the root.
        for (int bit = 1; bit < width; bit *= 2)
        {
            Group.Barrier();
            for (int slot = Group.IdxX * 2 * bit; slot < width; slot += Group.DimX * 2 * bit)
                slots[slot] = DeviceMath.Add(slots[slot], slots[slot + bit]);
        }
        Group.Barrier();
        return slots[0];
    }
}
