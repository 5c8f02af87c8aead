using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using TpServe.Kernels.Cuda.Ops;
using Keys = ILGPU.ArrayView<ulong>;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>Draws the rows whose top-k is off or beyond 64 from all their logits; leaves others as they are.</summary>
/// <remarks>
/// Shapes   logits [m, v], strided; best, bestIds [m, …]: the row's largest value and its id in their first column.
/// Launch   1. A group a row finds the key below which top-k and top-p take everything; rows without either skip it.
///          2. A group for each 4096 logits of a row adds the weights of what is left.
///          3. A group a row draws: which segment, which thread's part of it, which logit.
/// Numerics see <see cref="IRowSampler"/>; the cut over groups changes nothing, since weights are integers.
/// Cost     reads the logits twice; with top-k or top-p four to eight times more, by one multiprocessor a row.
/// Oracle   the reference backend's sampler.
/// </remarks>
internal sealed class WholeDrawKernels(CudaQueue queue, ScratchArena scratch)
{
    private const int SegmentColumns = 4096;
    private const int MostSegments = IRowSampler.MostColumns / SegmentColumns;
    private const int MostThreads = 128;

    // No result depends on them; ILGPU's CPU accelerator pays for every thread.
    private readonly int _rowThreads = queue.IsEmulated ? 32 : 512, _segmentThreads = queue.IsEmulated ? 32 : MostThreads;

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<int>, Keys, int, long, int> _bound =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<int>, Keys, int, long, int>(BoundKernel);

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<int>, Keys, Keys, int, int, long, int> _sum =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<int>, Keys, Keys, int, int, long, int>(SumKernel);

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<int>, ArrayView<int>, Keys, Keys, ArrayView<int>, DrawShape> _draw =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<int>, ArrayView<int>, Keys, Keys, ArrayView<int>, DrawShape>(DrawKernel);

    /// <summary>Draws.</summary>
    public void Run(Tensor logits, Tensor best, Tensor bestIds, Tensor parameters, Tensor chosen)
    {
        int m = chosen.Rows, segments = (logits.Columns + SegmentColumns - 1) / SegmentColumns;
        long mark = scratch.Mark();
        // Two 32-bit words a number.
        Keys bounds = scratch.Rent(m, 2, ElementType.Int32).View<ulong>(), sums = scratch.Rent(m, 2 * segments, ElementType.Int32).View<ulong>();
        ArrayView<float> x = logits.View<float>(), largest = best.View<float>();
        ArrayView<int> rows = parameters.View<int>();
        _bound((m, _rowThreads), x, largest, rows, bounds, logits.Columns, logits.RowStride, best.RowStride);
        _sum((m * segments, _segmentThreads), x, largest, rows, bounds, sums, logits.Columns, segments, logits.RowStride, best.RowStride);
        _draw(
            (m, _segmentThreads), x, largest, bestIds.View<int>(), rows, bounds, sums, chosen.View<int>(),
            new DrawShape { Columns = logits.Columns, Segments = segments, StrideX = logits.RowStride, StrideBest = best.RowStride, StrideIds = bestIds.RowStride });
        scratch.Release(mark);
    }

    [DeviceKernel]
    private static void BoundKernel(
        ArrayView<float> logits, ArrayView<float> best, ArrayView<int> parameters, Keys bounds, int columns, long strideX, int strideBest)
    {
        int row = Grid.IdxX;
        DrawParameters own = SamplerWords.Parameters(parameters, row);
        ulong drops = DrawParameters.Join(own.DropsLow, own.DropsHigh), bound = 0;
        bool isCut = own.TopK > 0 && own.TopK < columns;
        if (DrawParameters.IsOfCandidates(own) || (!isCut && drops == 0))
        {
            if (Group.IsFirstThread)
                bounds[row] = 0;
            return;
        }

        // 1. Top-k.
        RowKeys source = new(logits, row * strideX, 0);
        if (isCut)
            bound = KeySelection.Bound(source, columns, own.TopK);

        // 2. Top-p: the first key with which what lies before it weighs enough. Keys that weigh less than limit / v are taken, whatever their order:
        //    together they weigh less than the limit.
        FixedWeights weigh = Weigh(own, best[row * strideBest]);
        ulong part = 0;
        for (int i = Group.IdxX; i < columns && drops != 0; i += Group.DimX)
        {
            ulong key = source.Key(i);
            part += key >= bound ? weigh.Of(key) : 0;
        }
        ulong whole = GroupSum.Of(part), limit = DeviceMath.MultiplyHigh(drops, whole);
        if (drops != 0 && whole != 0)
        {
            ulong cut = WeightSelection.Bound(source, columns, bound, weigh, limit / (ulong)columns, whole - limit - 1);
            bound = cut > bound ? cut : bound;
        }
        if (Group.IsFirstThread)
            bounds[row] = bound;
    }

    [DeviceKernel]
    private static void SumKernel(
        ArrayView<float> logits, ArrayView<float> best, ArrayView<int> parameters, Keys bounds, Keys sums, int columns, int segments, long strideX, int strideBest)
    {
        int row = Grid.IdxX / segments, first = Grid.IdxX % segments * SegmentColumns, end = IntrinsicMath.Min(first + SegmentColumns, columns);
        DrawParameters own = SamplerWords.Parameters(parameters, row);
        if (DrawParameters.IsOfCandidates(own))
            return;
        RowKeys source = new(logits, row * strideX, 0);
        FixedWeights weigh = Weigh(own, best[row * strideBest]);
        ulong bound = bounds[row], least = FixedWeights.Of(own.MinP), sum = 0;
        for (int i = first + Group.IdxX; i < end; i += Group.DimX)
            sum += Left(source.Key(i), weigh, bound, least);
        sum = GroupSum.Of(sum);
        if (Group.IsFirstThread)
            sums[Grid.IdxX] = sum;
    }

    [DeviceKernel]
    private static void DrawKernel(
        ArrayView<float> logits, ArrayView<float> best, ArrayView<int> bestIds, ArrayView<int> parameters, Keys bounds, Keys sums, ArrayView<int> chosen, DrawShape shape)
    {
        int row = Grid.IdxX;
        DrawParameters own = SamplerWords.Parameters(parameters, row);
        if (DrawParameters.IsOfCandidates(own))
            return;
        float largest = best[row * shape.StrideBest];
        Keys segments = SharedMemory.Allocate<ulong>(MostSegments), parts = SharedMemory.Allocate<ulong>(MostThreads), place = SharedMemory.Allocate<ulong>(2);
        for (int i = Group.IdxX; i < shape.Segments; i += Group.DimX)
            segments[i] = sums[(long)row * shape.Segments + i];
        Group.Barrier();

        // 1. The segment in which the random number falls, and how far into it.
        if (Group.IsFirstThread)
        {
            ulong left = 0;
            for (int i = 0; i < shape.Segments; i++)
                left += segments[i];
            ulong rest = DeviceMath.MultiplyHigh(DrawParameters.Join(own.UniformLow, own.UniformHigh), left);
            int segment = 0;
            while (left != 0 && segments[segment] <= rest)
                rest -= segments[segment++];
            place[0] = (ulong)segment;
            place[1] = rest;

            // Where nothing weighs anything no thread draws.
            chosen[row] = FixedWeights.IsFinite(largest) ? bestIds[row * shape.StrideIds] : -1;
        }
        Group.Barrier();

        // 2. Each thread adds a part of it, logits side by side.
        RowKeys source = new(logits, row * shape.StrideX, 0);
        FixedWeights weigh = Weigh(own, largest);
        ulong bound = bounds[row], least = FixedWeights.Of(own.MinP), sum = 0;
        int length = SegmentColumns / Group.DimX, first = (int)place[0] * SegmentColumns + Group.IdxX * length;
        int end = IntrinsicMath.Min(first + length, shape.Columns);
        for (int i = first; i < end; i++)
            sum += Left(source.Key(i), weigh, bound, least);
        parts[Group.IdxX] = sum;
        Group.Barrier();

        // 3. The thread whose part it is finds the logit.
        ulong before = 0, target = place[1];
        for (int i = 0; i < Group.IdxX; i++)
            before += parts[i];
        if (!FixedWeights.IsFinite(largest) || target < before || target >= before + sum)
            return;
        for (int i = first; i < end && before <= target; i++)
        {
            before += Left(source.Key(i), weigh, bound, least);
            if (before > target)
                chosen[row] = i;
        }
    }

    private static FixedWeights Weigh(DrawParameters own, float largest) => new(own.Temperature, DeviceMath.Divide(largest, own.Temperature));

    /// <summary>What a key weighs after the filters.</summary>
    private static ulong Left(ulong key, FixedWeights weigh, ulong bound, ulong least)
    {
        if (key < bound)
            return 0;
        ulong weight = weigh.Of(key);
        return weight >= least ? weight : 0;
    }
}

/// <summary>Sizes of a draw from whole rows.</summary>
internal struct DrawShape
{
    /// <summary>Logits of a row.</summary>
    public int Columns;

    /// <summary>Segments of a row.</summary>
    public int Segments;

    /// <summary>Elements from a row of logits to the next.</summary>
    public long StrideX;

    /// <summary>Elements from a row's best value to the next one's.</summary>
    public int StrideBest;

    /// <summary>Elements from a row's best id to the next one's.</summary>
    public int StrideIds;
}
