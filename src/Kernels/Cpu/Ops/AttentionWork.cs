using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The items of one attention call: a tile of rows with the query heads of one KV head.</summary>
/// <remarks>
/// Memory   raw addresses stay valid because the tensors' buffers live through the call.
/// </remarks>
internal readonly unsafe struct AttentionWork<TElement> : IParallelWork
    where TElement : struct, IKvElement
{
    private const int Chunk = OnlineSoftmax.ChunkPositions;
    private const int L = VectorMath.Lanes;
    private const int Tile = OuterProducts.Rows;

    private readonly AttentionPlan _plan;
    private readonly OuterProducts _products;
    private readonly AttentionScratch _layout;
    private readonly float* _scratch;
    private readonly SegmentStates _segments;
    private readonly Tensor _q;
    private readonly Tensor _y;
    private readonly StepTensors _step;
    private readonly KvChunks<TElement> _chunks;
    private readonly int _headDim;
    private readonly int _valueDim;
    private readonly int _window;
    private readonly float _scale;
    private readonly float _softcap;
    private readonly Tensor? _sinks;

    public AttentionWork(
        AttentionPlan plan, OuterProducts products, AttentionScratch layout, HostBuffer scratch, SegmentStates segments, Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        _plan = plan;
        _products = products;
        _layout = layout;
        _scratch = (float*)scratch.Pointer;
        _segments = segments;
        _q = q;
        _y = y;
        _step = step;
        _chunks = new KvChunks<TElement>(cache, step, layout.PaddedDim);
        _headDim = shape.HeadDim;
        _valueDim = cache.ValueDim;
        _window = shape.Window;
        _scale = shape.Scale;
        _softcap = shape.Softcap;
        _sinks = shape.Sinks;
    }

    public void Execute(int first, int end, int thread)
    {
        float* scratch = _scratch + thread * (nint)(_layout.Bytes / sizeof(float));
        for (int item = first; item < end; item++)
        {
            (RowTile tile, HeadGroup group, int segment) = _plan.Item(item);
            LoadQueries(tile, group, scratch);
            if (_chunks.InPlace && !_chunks.IsLatent && tile.Rows * group.Heads <= Tile)
                WalkInPlace(tile, group, item + 1 < end ? _plan.Item(item + 1) : null, scratch);
            else
                WalkConverted(tile, group, scratch);
            for (int pair = 0; pair < tile.Rows * group.Heads; pair++)
            {
                SoftmaxState state = _layout.State(scratch, pair);
                if (segment >= 0)
                {
                    SoftmaxState kept = _segments.Of(segment, pair);
                    kept.Clear(_layout.PaddedDim);
                    kept.Join(state, _layout.PaddedDim);
                    continue;
                }
                if (IsFirstSegment(tile, tile.MaxLast))
                {
                    StoreOutput(tile, group, pair, state);
                    continue;
                }
                SoftmaxState earlier = _layout.Earlier(scratch, pair);
                earlier.Join(state, _layout.PaddedDim);
                StoreOutput(tile, group, pair, earlier);
            }
        }
    }

    /// <summary>The outputs of what was walked by segments, once all have been.</summary>
    public void JoinSegments()
    {
        for (int item = 0; item < _plan.Items && _plan.Segments > 0; item++)
        {
            (RowTile tile, HeadGroup group, int segment) = _plan.Item(item);
            if (segment < 0)
                continue;
            int last = item;
            while (last + 1 < _plan.Items && _plan.Item(last + 1) is { Segment: >= 0 } next && next.Group == group && next.Tile.First == tile.First)
                last++;
            for (int pair = 0; pair < tile.Rows * group.Heads; pair++)
            {
                SoftmaxState joined = _segments.Of(segment, pair);
                for (int later = 1; later <= last - item; later++)
                    joined.Join(_segments.Of(segment + later, pair), _layout.PaddedDim);
                StoreOutput(tile, group, pair, joined);
            }
            item = last;
        }
    }

    private static bool IsFirstSegment(RowTile tile, int position) => position / SoftmaxState.SegmentPositions == tile.MinFirst / SoftmaxState.SegmentPositions;

    /// <summary>Before a chunk that begins a further segment: what was seen so far becomes what was seen earlier.</summary>
    private void BeginSegment(RowTile tile, int pairs, int start, float* scratch)
    {
        if (start % SoftmaxState.SegmentPositions != 0 || IsFirstSegment(tile, start))
            return;
        bool isSecond = IsFirstSegment(tile, start - 1);
        for (int pair = 0; pair < pairs; pair++)
        {
            SoftmaxState state = _layout.State(scratch, pair), earlier = _layout.Earlier(scratch, pair);
            if (isSecond)
                earlier.Clear(_layout.PaddedDim);
            earlier.Join(state, _layout.PaddedDim);
            state.Clear(_layout.PaddedDim);
        }
    }

    /// <summary>One micro-tile: conversion in registers, each element once; at the end the first chunk of the following item is fetched.</summary>
    private void WalkInPlace(RowTile tile, HeadGroup group, AttentionItem? following, float* scratch)
    {
        byte** addresses = stackalloc byte*[2 * KvVectors.Addresses];
        KvVectors here = new(addresses), next = new(addresses + KvVectors.Addresses);
        ChunkScales scales = Scales(scratch);
        int start = tile.MinFirst / Chunk * Chunk;
        _chunks.Locate(tile, group, start, here);
        for (; start <= tile.MaxLast; start += Chunk, (here, next) = (next, here))
        {
            KvVectors fetched = next;
            if (start + Chunk <= tile.MaxLast)
                _chunks.Locate(tile, group, start + Chunk, next);
            else if (following is { } item)
                _chunks.Locate(item.Tile, item.Group, item.Tile.MinFirst / Chunk * Chunk, next);
            else
                fetched = here;
            if (TElement.HasScales)
                _chunks.LoadScales(here, fetched, scales);
            BeginSegment(tile, tile.Rows * group.Heads, start, scratch);
            JoinChunk<TElement>(scratch, 0, tile.Rows * group.Heads, start, here, fetched, _chunks.KeyStride, _chunks.ValueStride, L);
        }
    }

    /// <summary>Several micro-tiles: a chunk is converted to float32 once and used by all.</summary>
    private void WalkConverted(RowTile tile, HeadGroup group, float* scratch)
    {
        int pairs = tile.Rows * group.Heads;
        byte** addresses = stackalloc byte*[KvVectors.Addresses];
        KvVectors chunk = new(addresses);
        float* chunkKeys = scratch + _layout.Keys;
        float* chunkValues = scratch + _layout.Values;
        for (int start = tile.MinFirst / Chunk * Chunk; start <= tile.MaxLast; start += Chunk)
        {
            BeginSegment(tile, pairs, start, scratch);
            _chunks.Convert(tile, group, start, chunkKeys, chunkValues, Scales(scratch));
            for (int v = 0; v < Chunk / L; v++)
            {
                chunk.Keys[v] = (byte*)(chunkKeys + v * L);
                chunk.Values[v] = (byte*)(chunkValues + v * L * _layout.PaddedDim);
            }
            for (int pair = 0; pair < pairs; pair += Tile)
            {
                JoinChunk<Float32Element>(
                    scratch, pair, Math.Min(Tile, pairs - pair), start, chunk, chunk, Chunk * sizeof(float), _layout.PaddedDim * sizeof(float), Chunk);
            }
        }
    }

    /// <summary>One chunk for one micro-tile: scores, softmax, weighted values.</summary>
    /// <param name="next">The chunk after it, which is fetched meanwhile; the chunk itself where there is none.</param>
    /// <param name="run">Positions that lie one stride apart behind a vector of values: 16 in the cache, a whole chunk once converted.</param>
    private void JoinChunk<TChunk>(
        float* scratch, int pair, int count, int start, KvVectors chunk, KvVectors next, nint keyStride, nint valueStride, int run)
        where TChunk : struct, IKvElement
    {
        int* first = (int*)scratch + _layout.First + pair;
        int* last = (int*)scratch + _layout.Last + pair;
        float* weights = scratch + _layout.Weights;
        float* sums = scratch + _layout.Sums + pair * (nint)_layout.PaddedDim;

        // 1. What each pair sees of this chunk: [from, to); together [allFrom, allTo), anyone [anyFrom, anyTo).
        int* from = stackalloc int[Tile];
        int* to = stackalloc int[Tile];
        int allFrom = 0, allTo = Chunk, anyFrom = Chunk, anyTo = 0;
        for (int r = 0; r < count; r++)
        {
            from[r] = Math.Max(0, first[r] - start);
            to[r] = Math.Min(Chunk, last[r] + 1 - start);
            allFrom = Math.Max(allFrom, from[r]);
            allTo = Math.Min(allTo, to[r]);
            if (from[r] < to[r])
            {
                anyFrom = Math.Min(anyFrom, from[r]);
                anyTo = Math.Max(anyTo, to[r]);
            }
        }
        if (anyFrom >= anyTo)
            return;

        // 2. Scores of every group of 16 positions that someone sees; lanes that nobody sees hold anything and are dropped by the softmax.
        int firstVector = anyFrom / L, vectors = (anyTo + L - 1) / L - firstVector;
        _products.Add<TChunk>(
            scratch + _layout.Queries + pair * (nint)_layout.PaddedDim, _layout.PaddedDim, chunk.Keys + firstVector, next.Keys + firstVector, count, vectors, keyStride, _headDim,
            weights + firstVector * L, Chunk, fresh: true, TChunk.HasScales ? new(ScalesOf.Lanes, Scales(scratch).Keys + firstVector * L) : default);

        // 3. Weights; what was summed under a smaller maximum shrinks.
        float* factors = stackalloc float[Tile];
        OnlineSoftmax.Join(weights, count, from, to, _softcap, scratch + _layout.Max + pair, scratch + _layout.WeightSums + pair * L, factors);
        for (int r = 0; r < count; r++)
            if (factors[r] != 1f)
                Multiply(sums + r * (nint)_layout.PaddedDim, factors[r], sums + r * (nint)_layout.PaddedDim, _layout.PaddedDim);

        // 4. Values, ascending for every pair: where all see them together, at the ends of its range each pair alone, so that no pair ever
        //    multiplies a value it must not see (0 · ∞ is no 0).
        float* scales = Scales(scratch).Values;
        if (allFrom < allTo)
        {
            for (int r = 0; r < count; r++)
                AddValues<TChunk>(weights + r * Chunk, 1, from[r], allFrom, chunk.Values, next.Values, scales, valueStride, run, sums + r * (nint)_layout.PaddedDim);
            AddValues<TChunk>(weights, count, allFrom, allTo, chunk.Values, next.Values, scales, valueStride, run, sums);
            for (int r = 0; r < count; r++)
                AddValues<TChunk>(weights + r * Chunk, 1, allTo, to[r], chunk.Values, next.Values, scales, valueStride, run, sums + r * (nint)_layout.PaddedDim);
        }
        else
        {
            for (int r = 0; r < count; r++)
                AddValues<TChunk>(weights + r * Chunk, 1, from[r], to[r], chunk.Values, next.Values, scales, valueStride, run, sums + r * (nint)_layout.PaddedDim);
        }
    }

    /// <summary>Positions [from, to) for some pairs of a micro-tile.</summary>
    private void AddValues<TChunk>(float* weights, int pairs, int from, int to, byte** values, byte** nextValues, float* scales, nint stride, int run, float* sums)
        where TChunk : struct, IKvElement
    {
        int vectors = (_valueDim + L - 1) / L, step = L * TChunk.Bytes;
        byte** four = stackalloc byte*[OuterProducts.Vectors];
        byte** nextFour = stackalloc byte*[OuterProducts.Vectors];
        while (from < to)
        {
            int end = Math.Min(to, from / run * run + run);
            byte* at = values[from / run * run / L] + from % run * stride, nextAt = nextValues[from / run * run / L] + from % run * stride;
            for (int v = 0; v < vectors; v += OuterProducts.Vectors)
            {
                int some = Math.Min(OuterProducts.Vectors, vectors - v);
                for (int i = 0; i < some; i++)
                {
                    four[i] = at + (v + i) * step;
                    nextFour[i] = nextAt + (v + i) * step;
                }
                _products.Add<TChunk>(
                    weights + from, Chunk, four, nextFour, pairs, some, stride, end - from, sums + v * L, _layout.PaddedDim, fresh: false,
                    TChunk.HasScales ? new(ScalesOf.Steps, scales + v * L / Q8Block.Elements * Chunk + from) : default);
            }
            from = end;
        }
    }

    private ChunkScales Scales(float* scratch) => new(scratch + _layout.KeyScales, scratch + _layout.ValueScales);

    private static void Multiply(float* source, float factor, float* target, int count)
    {
        Vector512<float> f = Vector512.Create(factor);
        int i = 0;
        for (; i <= count - L; i += L)
            (Vector512.Load(source + i) * f).Store(target + i);
        for (; i < count; i++)
            target[i] = source[i] * factor;
    }

    /// <summary>Scaled queries, and an empty state for every pair.</summary>
    private void LoadQueries(RowTile tile, HeadGroup group, float* scratch)
    {
        int pairs = tile.Rows * group.Heads, dim = _layout.PaddedDim;
        float* queries = scratch + _layout.Queries;
        int* first = (int*)scratch + _layout.First;
        int* last = (int*)scratch + _layout.Last;
        for (int pair = 0; pair < pairs; pair++)
        {
            int row = tile.First + pair / group.Heads;
            Multiply(_q.HostRow<float>(row) + (group.First + pair % group.Heads) * _headDim, _scale, queries + pair * (nint)dim, _headDim);
            last[pair] = _step.Positions.HostRow<int>(row)[0];
            first[pair] = AttentionPlan.FirstVisible(last[pair], _window);
        }
        new Span<float>(scratch + _layout.Max, pairs).Fill(float.NegativeInfinity);
        new Span<float>(scratch + _layout.Sums, pairs * dim).Clear();
        new Span<float>(scratch + _layout.WeightSums, pairs * L).Clear();
    }

    private void StoreOutput(RowTile tile, HeadGroup group, int pair, SoftmaxState state)
    {
        float* target = _y.HostRow<float>(tile.First + pair / group.Heads) + (group.First + pair % group.Heads) * _valueDim;
        Vector512<float> total = Vector512.Create(VectorMath.Sum(Vector512.Load(state.Weights)));
        if (_sinks is { } sinks) // its weight after all others', whatever segments they were in; far above them it only has to be large
            total += VectorMath.Exp(Vector512.Create(sinks.HostRow<float>(0)[group.First + (pair % group.Heads)] - *state.Max));
        int i = 0;
        for (; i <= _valueDim - L; i += L)
            (Vector512.Load(state.Values + i) / total).Store(target + i);
        if (i < _valueDim)
            VectorMath.StorePartial(Vector512.Load(state.Values + i) / total, target + i, _valueDim - i);
    }
}
