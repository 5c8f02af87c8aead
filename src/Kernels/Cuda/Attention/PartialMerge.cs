using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

/// <summary>Merges the partial results that attention left of each chunk.</summary>
/// <remarks>
/// Shapes   partials as <see cref="AttentionNumbers.Partial"/> places them; y [n, heads · headDim], strided.
/// Launch   a thread an element of y, striding over the grid; no shared memory, no barrier.
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
            float max = float.NegativeInfinity, sum = 0f, merged = 0f;
            for (int chunk = AttentionNumbers.First(numbers, last) / numbers.Chunk; chunk <= last / numbers.Chunk && last >= 0; chunk++)
            {
                long partial = AttentionNumbers.Partial(numbers, column, chunk);
                float chunkMax = partials[partial];
                if (chunkMax == float.NegativeInfinity)
                    continue;
                float keep = SoftmaxMath.Keep(max, chunkMax), join = SoftmaxMath.Join(max, chunkMax);
                sum = SoftmaxMath.Merge(sum, keep, partials[partial + 1], join);
                merged = SoftmaxMath.Merge(merged, keep, partials[partial + 2 + element], join);
                max = SoftmaxMath.Max(max, chunkMax);
            }
            y[row * numbers.StrideY + column % numbers.Heads * numbers.HeadDim + element] = SoftmaxMath.Mean(merged, sum);
        }
    }
}
