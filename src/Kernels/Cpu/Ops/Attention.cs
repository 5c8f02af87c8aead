using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>y = softmax(scale · q · Kᵀ, causal) · V over the paged cache that <see cref="StoreKv"/> filled.</summary>
/// <remarks>
/// Shapes   q [n, localHeads · headDim], y [n, localHeads · valueDim]; the cache as StoreKv lays it out. Values that are part of the keys are turned
///          out of the converted chunk.
/// Numerics per (token, head) pair: segments of 512 positions counted from position 0, joined in ascending order (SoftmaxState); in a segment
///          chunks of 64, ascending; scores are chains over headDim, the weighted sum of values a chain over positions (OuterProducts,
///          OnlineSoftmax). Nothing depends on which pairs share a tile, or on who walks a segment.
/// Cost     decode reads every key and value once per KV head and is bound by memory; prefill converts a chunk to float32 once for up to 64
///          pairs and is bound by the multiply pipes.
/// Threads  items are (tile of rows) × (group of heads), or segments of those where they are few; each thread has scratch of its own. Allocates
///          only where a step is larger than any before.
/// Source   Milakov and Gimelshein 2018; paging: Kwon et al. 2023.
/// Oracle   the reference backend (float64), NMSE ≤ 1e-12.
/// </remarks>
/// <param name="threads">Who works.</param>
/// <param name="family">Instructions of the emitted loops; null = plain ones.</param>
internal sealed unsafe class Attention(CpuThreads threads, InstructionFamily? family) : IDisposable
{
    /// <summary>Below this many multiply-adds a second thread costs more than it saves.</summary>
    private const long WorthThreads = 1 << 17;

    /// <summary>How often each thread draws items: often enough to share them evenly, in ranges, for an item fetches the beginning of the one after it.</summary>
    private const int DrawsPerThread = 8;

    private readonly AttentionPlan _plan = new();
    private readonly OuterProducts _products = new(family);
    private HostBuffer _scratch = new(0);

    /// <summary>Attends for every row of the step.</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or a position, sequence or block is out of range.</exception>
    public void Run(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        Require.Shape(q, q.Rows, shape.KvHeadOfHead.Count * shape.HeadDim);
        Require.Shape(y, q.Rows, shape.KvHeadOfHead.Count * cache.ValueDim);
        Require.Shape(step.Positions, q.Rows, 1, ElementType.Int32);
        Require.Shape(step.SequenceOfRow, q.Rows, 1, ElementType.Int32);
        Require.Type(step.BlockTables, ElementType.Int32);
        int cacheColumns = cache.Keys.Type.KvColumns(shape.HeadDim);
        Require.Shape(cache.Keys, cache.Keys.Rows, cacheColumns, cache.Keys.Type);
        Require.Shape(cache.Values, cache.Keys.Rows, cacheColumns, cache.Keys.Type);
        Require.Contiguous(cache.Keys);
        Require.Contiguous(cache.Values);
        if (shape.Sinks is { } sinks)
            Require.Shape(sinks, 1, shape.KvHeadOfHead.Count);
        switch (cache.Keys.Type)
        {
            case ElementType.Float32: Run<Float32Element>(q, cache, step, shape, y); break;
            case ElementType.Float16: Run<Float16Element>(q, cache, step, shape, y); break;
            case ElementType.BFloat16: Run<BFloat16Element>(q, cache, step, shape, y); break;
            case ElementType.Q8: Run<Q8Element>(q, cache, step, shape, y); break;
            default: throw new ArgumentException($"A cache cannot hold {cache.Keys.Type}.");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _scratch.Dispose();

    private void Run<TElement>(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
        where TElement : struct, IKvElement
    {
        if (q.Rows == 0)
            return;
        _plan.Build(step, shape, cache, threads.Count);
        AttentionScratch layout = new(shape.HeadDim, _plan.MostPairs);
        long bytes = layout.Bytes * threads.Count + SegmentStates.BytesOf(_plan.Segments, layout.PaddedDim);
        if (_scratch.Bytes < bytes)
        {
            _scratch.Dispose();
            _scratch = new HostBuffer(bytes);
        }
        _products.Prepare<TElement>();
        _products.Prepare<Float32Element>(); // what is converted for several tiles
        SegmentStates segments = new((float*)(_scratch.Pointer + layout.Bytes * threads.Count), layout.PaddedDim);
        AttentionWork<TElement> work = new(_plan, _products, layout, _scratch, segments, q, cache, step, shape, y);
        int items = _plan.Items;
        threads.Run(ref work, items, _plan.Scores * shape.HeadDim < WorthThreads ? items : Math.Max(1, items / (DrawsPerThread * threads.Count)));
        work.JoinSegments();
    }
}
