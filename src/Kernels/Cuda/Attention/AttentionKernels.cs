using ILGPU;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

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
    private readonly TensorAttention? _tensor = activations == CudaActivations.Float32 || queue.IsEmulated ? null : new(queue);

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
        HeadMap map = _maps.OnDevice(shape.KvHeadOfHead, view.Heads);
        bool usesTensorCores = _tensor is not null && TensorAttention.Serves(view);
        AttentionNumbers numbers = Numbers(
            q.Rows, q.RowStride, y.RowStride, step.BlockTables.Rows, step.BlockTables.Columns, step.BlockTables.RowStride, view.BlockTokens, shape,
            usesTensorCores ? shape.HeadDim : PlainAttention.Chunk);
        AttentionOperands operands = new(
            q.View<float>(), view, map.KvHeads.View.Cast<int>(), step.Positions.View<int>(), step.SequenceOfRow.View<int>(), step.BlockTables.View<int>(), y.View<float>(), default);
        if (usesTensorCores)
            RunTensor(operands, numbers, map);
        else
            RunPlain(operands, numbers);
        scratch.Release(mark);
    }

    /// <inheritdoc/>
    public void Dispose() => _maps.Dispose();

    /// <summary>The sizes and factors of a call; how many chunks a group walks is still open.</summary>
    internal static AttentionNumbers Numbers(
        int rows, int strideQ, int strideY, int sequences, int tableBlocks, int tableStride, int blockTokens, AttentionShape shape, int chunk)
    {
        bool capped = shape.Softcap > 0f;
        return new AttentionNumbers
        {
            Rows = rows,
            Heads = shape.KvHeadOfHead.Count,
            HeadDim = shape.HeadDim,
            StrideQ = strideQ,
            StrideY = strideY,
            Sequences = sequences,
            TableBlocks = tableBlocks,
            TableStride = tableStride,
            Window = shape.Window,
            Factor = capped ? 2f * shape.Scale / shape.Softcap * SoftmaxMath.Log2E : shape.Scale * SoftmaxMath.Log2E,
            Cap = capped ? shape.Softcap * SoftmaxMath.Log2E : 0f,
            Chunk = chunk,
            Chunks = Math.Max(1, (tableBlocks * blockTokens + chunk - 1) / chunk),
        };
    }

    private void RunPlain(AttentionOperands operands, AttentionNumbers numbers)
    {
        Tensor partials = Cut(ref numbers, queue.IsEmulated ? WantedGroups : numbers.Rows * numbers.Heads);
        operands = operands with { Partials = partials.View<float>() };
        _plain.Run(operands, numbers);
        if (partials.Rows > 0)
            _merge.Run(operands, numbers);
    }

    private void RunTensor(AttentionOperands operands, AttentionNumbers numbers, HeadMap map)
    {
        ArrayView<int> pieces = map.Pieces.View.Cast<int>();
        TensorCut decode = new() { Rows = 1, Tiles = 1, Pieces = map.PieceCount }, prefill = decode;
        prefill.Rows = Math.Min(numbers.Rows, TensorAttention.MostColumns / map.MostHeads);
        prefill.Tiles = (prefill.Rows * map.MostHeads + 7) / 8;

        // 1. As many sequences as rows is decode, one sequence is prefill: one launch, and where it has few groups a second one that merges.
        bool isDecode = numbers.Rows == numbers.Sequences;
        if (isDecode || numbers.Sequences == 1)
        {
            TensorCut cut = isDecode ? decode : prefill;
            Tensor partials = Cut(ref numbers, (numbers.Rows + cut.Rows - 1) / cut.Rows * cut.Pieces);
            operands = operands with { Partials = partials.View<float>() };
            _tensor!.Run(operands, pieces, numbers, cut);
            if (partials.Rows > 0)
                _merge.Run(operands, numbers);
            return;
        }

        // 2. A mixed step: the host does not know which rows stand alone, so two launches each find their own.
        numbers.ChunksOfGroup = numbers.Chunks;
        _tensor!.Run(operands, pieces, numbers, decode with { Takes = TakenRows.Alone });
        _tensor.Run(operands, pieces, numbers, prefill with { Takes = TakenRows.Accompanied });
    }

    /// <summary>Decides how many chunks a group walks, and rents what they leave.</summary>
    private Tensor Cut(ref AttentionNumbers numbers, int groups)
    {
        int columns = numbers.Rows * numbers.Heads;
        int ranges = Math.Clamp(WantedGroups / groups, 1, numbers.Chunks);
        if ((long)columns * numbers.Chunks * (numbers.HeadDim + 2) * sizeof(float) > MostPartialBytes)
            ranges = 1;
        numbers.ChunksOfGroup = ChunksOfGroup ?? (numbers.Chunks + ranges - 1) / ranges;
        return numbers.ChunksOfGroup >= numbers.Chunks ? default : scratch.Rent(columns * numbers.Chunks, numbers.HeadDim + 2, ElementType.Float32);
    }
}
