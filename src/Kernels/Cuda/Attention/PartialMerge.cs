using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Merges the partial results that attention left of each chunk.</summary>
/// <remarks>
/// Shapes   partials as <see cref="AttentionNumbers.Partial"/> places them; y [n, heads · headDim], strided.
/// Launch   a thread an element of y, striding over the grid; no shared memory, no barrier. Eight chunks are on their way at a time.
/// Numerics the same formula in the same order as where one group walks all chunks (<see cref="SoftmaxMath"/>), so the same bits.
/// Cost     reads 4 · (headDim + 2) bytes a chunk and head: a fraction of 2 · heads / kvHeads / headDim of what the chunk's 16-bit keys and values have.
/// </remarks>
internal sealed class PartialMerge(CudaQueue queue)
{
    private readonly Action<KernelConfig, KvView, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers> _merge =
        queue.Load<KvView, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers>(MergeKernel);

    /// <summary>Merges every column.</summary>
    public void Run(AttentionOperands operands, AttentionNumbers numbers) => _merge(
        RotaryKernels.Groups(queue, numbers.Rows * numbers.Heads * numbers.HeadDim), operands.Cache, operands.Positions, operands.Sequences, operands.Partials, operands.Result, numbers);

    [DeviceKernel]
    private static void MergeKernel(KvView cache, ArrayView<int> positions, ArrayView<int> sequences, ArrayView<float> partials, ArrayView<float> y, AttentionNumbers numbers)
    {
        for (int i = Grid.IdxX * Group.DimX + Group.IdxX; i < numbers.Rows * numbers.Heads * numbers.HeadDim; i += Grid.DimX * Group.DimX)
        {
            int element = i % numbers.HeadDim, column = i / numbers.HeadDim, row = column / numbers.Heads;
            int last = AttentionNumbers.Last(numbers, row, positions, sequences, cache);
            int first = AttentionNumbers.First(numbers, last) / numbers.Chunk, end = last < 0 ? 0 : last / numbers.Chunk + 1;
            PartialResult merged = new() { Max = float.NegativeInfinity };
            for (int chunk = first; chunk < end; chunk += 8)
            {
                PartialResult p0 = Read(partials, column, chunk, end, element, numbers), p1 = Read(partials, column, chunk + 1, end, element, numbers);
                PartialResult p2 = Read(partials, column, chunk + 2, end, element, numbers), p3 = Read(partials, column, chunk + 3, end, element, numbers);
                PartialResult p4 = Read(partials, column, chunk + 4, end, element, numbers), p5 = Read(partials, column, chunk + 5, end, element, numbers);
                PartialResult p6 = Read(partials, column, chunk + 6, end, element, numbers), p7 = Read(partials, column, chunk + 7, end, element, numbers);
                merged = Merge(Merge(Merge(Merge(merged, p0), p1), p2), p3);
                merged = Merge(Merge(Merge(Merge(merged, p4), p5), p6), p7);
            }
            y[row * numbers.StrideY + column % numbers.Heads * numbers.HeadDim + element] = SoftmaxMath.Mean(merged.Value, merged.Sum);
        }
    }

    /// <summary>What is left of one chunk; nothing behind the last one.</summary>
    private static PartialResult Read(ArrayView<float> partials, int column, int chunk, int end, int element, AttentionNumbers numbers)
    {
        long partial = AttentionNumbers.Partial(numbers, column, IntrinsicMath.Min(chunk, end - 1));
        return new() { Max = chunk < end ? partials[partial] : float.NegativeInfinity, Sum = partials[partial + 1], Value = partials[partial + 2 + element] };
    }

    private static PartialResult Merge(PartialResult merged, PartialResult part)
    {
        if (part.Max == float.NegativeInfinity)
            return merged;
        float keep = SoftmaxMath.Keep(merged.Max, part.Max), join = SoftmaxMath.Join(merged.Max, part.Max);
        return new()
        {
            Max = SoftmaxMath.Max(merged.Max, part.Max),
            Sum = SoftmaxMath.Merge(merged.Sum, keep, part.Sum, join),
            Value = SoftmaxMath.Merge(merged.Value, keep, part.Value, join),
        };
    }

    private struct PartialResult
    {
        public float Max;
        public float Sum;
        public float Value;
    }
}
