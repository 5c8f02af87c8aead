#pragma warning disable CS9113
using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>y = softmax(scale · q · Kᵀ, causal) · V over the paged cache: chooses the kernel and how it is cut.</summary>
/// <remarks>
/// Numerics the choice depends on the device, the cache and the shape of a head alone; the cut changes no bit.
/// Threads  the rank's thread.
/// </remarks>
internal sealed class AttentionKernels(CudaQueue queue, ScratchArena scratch, CudaActivations activations) : IDisposable
{
    /// <summary>Groups that keep a GPU busy: with fewer, the chunks of a row are spread over several.</summary>
    private const int WantedGroups = 512;

    /// <summary>Most bytes of partial results; a call that would leave more walks all chunks of a row in one group.</summary>
    private const long MostPartialBytes = 64L << 20;

    private readonly HeadMaps _maps = new(queue);
    private readonly PlainAttention _plain = new(queue);
    private readonly PartialMerge _merge = new(queue);

    /// <summary>Chunks that a group walks, where a test wants a certain cut.</summary>
    internal int? ChunksOfGroup { get; set; }

    /// <summary>Attends for every row of the step.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        int heads = shape.KvHeadOfHead.Count;
        KvView view = new(cache);
        Require.Shape(q, q.Rows, heads * shape.HeadDim);
        Require.Shape(y, q.Rows, heads * shape.HeadDim);
        Require.Shape(step.Positions, q.Rows, 1, ElementType.Int32);
        Require.Contiguous(step.Positions);
        Require.Shape(step.SequenceOfRow, q.Rows, 1, ElementType.Int32);
        Require.Contiguous(step.SequenceOfRow);
        Require.Type(step.BlockTables, ElementType.Int32);
        Require.That(view.HeadDim == shape.HeadDim, $"A cache of heads of {view.HeadDim} cannot serve heads of {shape.HeadDim}.");
        if (q.Rows == 0 || heads == 0)
            return;

        long mark = scratch.Mark();
        AttentionNumbers numbers = Numbers(q, view, step, shape, y, PlainAttention.Chunk);
        Tensor partials = Cut(ref numbers, numbers.Rows * heads);
        AttentionOperands operands = new(
            q.View<float>(), view, _maps.OnDevice(shape.KvHeadOfHead, view.Heads), step.Positions.View<int>(), step.SequenceOfRow.View<int>(), step.BlockTables.View<int>(),
            y.View<float>(), partials.View<float>());
        _plain.Run(operands, numbers);
        if (partials.Rows > 0)
            _merge.Run(operands, numbers);
        scratch.Release(mark);
    }

    /// <inheritdoc/>
    public void Dispose() => _maps.Dispose();

    private static AttentionNumbers Numbers(Tensor q, KvView cache, StepTensors step, AttentionShape shape, Tensor y, int chunk)
    {
        bool capped = shape.Softcap > 0f;
        return new AttentionNumbers
        {
            Rows = q.Rows,
            Heads = shape.KvHeadOfHead.Count,
            HeadDim = shape.HeadDim,
            StrideQ = q.RowStride,
            StrideY = y.RowStride,
            Sequences = step.BlockTables.Rows,
            TableBlocks = step.BlockTables.Columns,
            TableStride = step.BlockTables.RowStride,
            Window = shape.Window,
            Factor = capped ? 2f * shape.Scale / shape.Softcap * SoftmaxMath.Log2E : shape.Scale * SoftmaxMath.Log2E,
            Cap = capped ? shape.Softcap * SoftmaxMath.Log2E : 0f,
            Chunk = chunk,
            Chunks = Math.Max(1, (step.BlockTables.Columns * cache.BlockTokens + chunk - 1) / chunk),
        };
    }

    /// <summary>Decides how many chunks a group walks, and rents what they leave.</summary>
    private Tensor Cut(ref AttentionNumbers numbers, int groups)
    {
        int columns = numbers.Rows * numbers.Heads;
        int ranges = queue.IsEmulated ? 1 : Math.Min(numbers.Chunks, WantedGroups / Math.Max(1, groups));
        long bytes = (long)columns * numbers.Chunks * (numbers.HeadDim + 2) * sizeof(float);
        if (ranges <= 1 || bytes > MostPartialBytes)
            ranges = 1;
        numbers.ChunksOfGroup = ChunksOfGroup ?? (numbers.Chunks + ranges - 1) / ranges;
        return numbers.ChunksOfGroup >= numbers.Chunks ? default : scratch.Rent(columns * numbers.Chunks, numbers.HeadDim + 2, ElementType.Float32);
    }
}
