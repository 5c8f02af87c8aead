using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using Keys = ILGPU.ArrayView<ulong>;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>The k largest of each row in descending order, ties to the lower index; a NaN counts as −∞.</summary>
/// <remarks>
/// A value and its index make one 64-bit key: keys are all different and their order is the result's, so neither the cut of a row nor the order in
/// which threads meet changes anything.
/// Shapes   as <see cref="ITensorBackend"/> states them; a row of less than 2^31 values, strided as it likes.
/// Launch   first a group for each 4096 values of a row, which leaves its best k; then a group per row over what those left. A row of one
///          segment takes one launch.
/// Cost     reads x a few times, from the cache after the first: the digits of the k-th largest key are found by histograms, from the highest on.
/// Source   radix selection: Alabi et al. 2012.
/// Oracle   a full stable sort: equal.
/// </remarks>
internal sealed class TopKKernels(CudaQueue queue, ScratchArena scratch)
{
    /// <summary>The largest k.</summary>
    public const int Limit = 64;

    /// <summary>Values of a row that one group takes.</summary>
    internal const int SegmentColumns = 4096;

    // The result does not depend on it; ILGPU's CPU accelerator pays for every thread.
    private readonly int _threads = queue.IsEmulated ? 64 : 256;

    private readonly Action<KernelConfig, ArrayView<float>, Keys, int, int, long, int> _segments =
        queue.Load<ArrayView<float>, Keys, int, int, long, int>(SegmentKernel);

    private readonly Action<KernelConfig, ArrayView<float>, Keys, ArrayView<float>, ArrayView<int>, int, int, long, int, int, int> _merge =
        queue.Load<ArrayView<float>, Keys, ArrayView<float>, ArrayView<int>, int, int, long, int, int, int>(MergeKernel);

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<int>, int, int, long, int, int, int> _row =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<int>, int, int, long, int, int, int>(RowKernel);

    /// <summary>Finds the best of each row; ids count from firstId. Where a row has less than k values, −∞ and −1 follow.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or k is out of range.</exception>
    public void Run(Tensor x, int k, int firstId, Tensor values, Tensor ids)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(values, x.Rows, k);
        Require.Shape(ids, x.Rows, k, ElementType.Int32);
        Require.That(k is > 0 and <= Limit, $"k is {k}, the limit is {Limit}.");
        if (x.Rows == 0)
            return;
        int segments = (x.Columns + SegmentColumns - 1) / SegmentColumns;
        if (segments <= 1)
        {
            _row((x.Rows, _threads), x.View<float>(), values.View<float>(), ids.View<int>(), x.Columns, k, x.RowStride, values.RowStride, ids.RowStride, firstId);
            return;
        }
        // Two 32-bit words a key.
        long mark = scratch.Mark();
        Tensor left = scratch.Rent(x.Rows, 2 * segments * k, ElementType.Int32);
        _segments((x.Rows * segments, _threads), x.View<float>(), left.View<ulong>(), x.Columns, segments, x.RowStride, k);
        _merge((x.Rows, _threads), x.View<float>(), left.View<ulong>(), values.View<float>(), ids.View<int>(), segments * k, k, x.RowStride, values.RowStride, ids.RowStride, firstId);
        scratch.Release(mark);
    }

    /// <summary>The best k keys of a segment, in no order; zeros where it has less.</summary>
    [DeviceKernel]
    private static void SegmentKernel(ArrayView<float> x, Keys left, int columns, int segments, long strideX, int k)
    {
        int row = Grid.IdxX / segments, first = Grid.IdxX % segments * SegmentColumns;
        int count = columns - first < SegmentColumns ? columns - first : SegmentColumns;
        Keys best = SharedMemory.Allocate<ulong>(Limit);
        KeySelection.Best(new RowKeys(x, row * strideX, first), count, k, best);
        for (int i = Group.IdxX; i < k; i += Group.DimX)
            left[(long)Grid.IdxX * k + i] = best[i];
    }

    /// <summary>The best of all segments' keys, written as values and ids.</summary>
    [DeviceKernel]
    private static void MergeKernel(
        ArrayView<float> x, Keys left, ArrayView<float> values, ArrayView<int> ids, int count, int k, long strideX, int strideValues, int strideIds, int firstId)
    {
        Keys best = SharedMemory.Allocate<ulong>(Limit);
        KeySelection.Best(new StoredKeys(left, (long)Grid.IdxX * count), count, k, best);
        Write(best, k, x, Grid.IdxX * strideX, values, Grid.IdxX * strideValues, ids, Grid.IdxX * strideIds, firstId);
    }

    /// <summary>Both in one for rows of one segment.</summary>
    [DeviceKernel]
    private static void RowKernel(
        ArrayView<float> x, ArrayView<float> values, ArrayView<int> ids, int columns, int k, long strideX, int strideValues, int strideIds, int firstId)
    {
        Keys best = SharedMemory.Allocate<ulong>(Limit);
        KeySelection.Best(new RowKeys(x, Grid.IdxX * strideX, 0), columns, k, best);
        Write(best, k, x, Grid.IdxX * strideX, values, Grid.IdxX * strideValues, ids, Grid.IdxX * strideIds, firstId);
    }

    /// <summary>Each key goes to the place that its rank among the k gives it.</summary>
    private static void Write(
        Keys best, int k, ArrayView<float> x, long row, ArrayView<float> values, int toValues, ArrayView<int> ids, int toIds, int firstId)
    {
        for (int i = Group.IdxX; i < k; i += Group.DimX)
        {
            ulong key = best[i];
            int rank = 0;
            for (int other = 0; other < k; other++)
            {
                // Empty places are all zero; the earlier one goes first.
                ulong against = best[other];
                rank += against > key || (against == key && other < i) ? 1 : 0;
            }
            int index = RowKeys.Index(key);
            float value = key == 0 ? float.NegativeInfinity : x[row + index];
            values[toValues + rank] = float.IsNaN(value) ? float.NegativeInfinity : value;
            ids[toIds + rank] = key == 0 ? -1 : firstId + index;
        }
    }
}
