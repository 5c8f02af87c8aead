using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Paged attention on tensor cores, for caches of 16-bit floats stored as operands (<see cref="KvView"/>).</summary>
/// <remarks>
/// Shapes   a column is one query head of one row. A group has up to 32 columns in tiles of 8, all of one KV head: in decode the heads of one row, in
///          prefill those of several rows. Rows of different sequences in one group are attended for one sequence after the other.
/// Launch   headDim / 16 warps for a piece of heads × some rows × a range of chunks; 37 KiB of shared memory; two barriers a chunk. headDim a multiple of 16,
///          at most 256. The grid depends on the shapes alone, so that a recorded step replays it for any length; groups beyond a row's length end at once.
///          Keys and values go from memory to registers, each operand by one 16-byte load a lane; only queries and weights pass through shared memory.
/// Numerics chunks of headDim positions from position 0. S^T = K · Q: warp w multiplies keys [16w, 16w + 16) of the chunk, a chain of products of 16 elements.
///          Queries and weights are rounded to the cache's type (a query beyond binary16's range becomes infinite); scores, sums and weighted values are
///          float32. A product is scaled by scale · log2 e after it, never before. A chunk's sum adds each warp's butterfly in ascending order, before weights
///          are rounded. O^T = V^T · P: warp w has elements [16w, 16w + 16), a chain over the chunk's keys, 16 at a time, from zero. Chunks are merged in
///          ascending order (<see cref="SoftmaxMath"/>).
///          A column of an mma depends on A and on its own column of B and C alone. A position that a column does not see has weight zero and value zero: where
///          some columns of a group see a position and others do not, each has a product of its own. So neither the neighbours nor the cut change a bit.
/// Cost     decode reads each key and value once per piece: 4 · headDim · kvHeads bytes a position, bound by memory. Prefill does 4 · headDim flops a position and
///          head, reads keys and values once per 32 columns (mostly from the second cache), and one 8-byte operand of shared memory a lane and mma, which
///          bounds it at 1024 multiply-adds a cycle and multiprocessor.
/// Source   Milakov and Gimelshein 2018; paging: Kwon et al. 2023; the cut over chunks: Dao et al. 2023 (Flash-Decoding).
/// Oracle   the reference backend (float64) with queries rounded as here, NMSE ≤ 5e-7 for binary16 and 3e-5 for bfloat16: the rounding of weights.
/// </remarks>
internal sealed class TensorAttention(CudaQueue queue)
{
    /// <summary>Most tiles of 8 columns.</summary>
    public const int MostTiles = 4;

    /// <summary>Most columns of a group.</summary>
    public const int MostColumns = 8 * MostTiles;

    /// <summary>Most pairs of columns of a group: a lane has parts of pairs.</summary>
    public const int MostPairs = MostColumns / 2;

    private const int MostWarps = 16;
    private const int Lanes = 32;

    private readonly Launcher _halves = queue.Load<
        ArrayView<float>, KvView, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers, TensorCut>(AttendKernel<HalfElement>).Invoke;

    private readonly Launcher _bfloats = queue.Load<
        ArrayView<float>, KvView, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers, TensorCut>(AttendKernel<BFloatElement>).Invoke;

    private delegate void Launcher(
        KernelConfig config, ArrayView<float> q, KvView cache, ArrayView<int> pieces, ArrayView<int> positions, ArrayView<int> sequences, ArrayView<int> tables,
        ArrayView<float> y, ArrayView<float> partials, AttentionNumbers numbers, TensorCut cut);

    /// <summary>True where a cache is stored as operands, in heads that a group has warps for.</summary>
    public static bool Serves(KvView cache) => cache.Tiled != 0 && cache.HeadDim <= MostWarps * KvView.Square;

    /// <summary>Attends for the rows that the cut names; leaves partial results where a group does not walk all chunks.</summary>
    public void Run(AttentionOperands operands, ArrayView<int> pieces, AttentionNumbers numbers, TensorCut cut)
    {
        Launcher launch = operands.Cache.Format == KvFormat.Float16 ? _halves : _bfloats;
        launch(Config(numbers, cut), operands.Queries, operands.Cache, pieces, operands.Positions, operands.Sequences, operands.Tables, operands.Result, operands.Partials, numbers, cut);
    }

    /// <summary>The grid and group of a launch.</summary>
    public static KernelConfig Config(AttentionNumbers numbers, TensorCut cut)
    {
        int tiles = (numbers.Rows + cut.Rows - 1) / cut.Rows, ranges = (numbers.Chunks + numbers.ChunksOfGroup - 1) / numbers.ChunksOfGroup;
        return (new Index2D(tiles * cut.Pieces, ranges), new Index2D(numbers.HeadDim / KvView.Square * Lanes, 1));
    }

    [DeviceKernel(typeof(HalfElement), Uses = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", GroupSize = MostWarps * Lanes)]
    [DeviceKernel(typeof(BFloatElement), Uses = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", GroupSize = MostWarps * Lanes)]
    internal static void AttendKernel<TElement>(
        ArrayView<float> q, KvView cache, ArrayView<int> pieces, ArrayView<int> positions, ArrayView<int> sequences, ArrayView<int> tables,
        ArrayView<float> y, ArrayView<float> partials, AttentionNumbers numbers, TensorCut cut)
        where TElement : unmanaged, ITensorElement
    {
        ArrayView<UInt2> queries = SharedMemory.Allocate<UInt2>(MostWarps * MostTiles * Lanes), weights = SharedMemory.Allocate<UInt2>(MostWarps * MostTiles * Lanes);
        ArrayView<FloatPair> maxima = SharedMemory.Allocate<FloatPair>(MostWarps * MostPairs), sums = SharedMemory.Allocate<FloatPair>(MostWarps * MostPairs);
        ArrayView<int> firsts = SharedMemory.Allocate<int>(MostColumns), lasts = SharedMemory.Allocate<int>(MostColumns);
        ArrayView<UInt4> keys = cache.Keys.Cast<UInt4>(), values = cache.Values.Cast<UInt4>();
        int warp = Group.IdxX >> 5, lane = Group.IdxX & 31, even = (lane & 3) * 2, warps = numbers.HeadDim / KvView.Square, piece = Grid.IdxX % cut.Pieces;
        bool isWhole = numbers.ChunksOfGroup >= numbers.Chunks;
        TensorPass pass = default;
        pass.FirstRow = (Grid.DimX / cut.Pieces - 1 - Grid.IdxX / cut.Pieces) * cut.Rows; // the longest past first
        pass.FirstHead = pieces[4 * piece];
        pass.Heads = pieces[4 * piece + 1];
        pass.KvHead = pieces[4 * piece + 2];
        int rowsEnd = IntrinsicMath.Min(pass.FirstRow + cut.Rows, numbers.Rows);

        for (pass.End = pass.FirstRow; pass.End < rowsEnd;)
        {
            // 1. The next rows of one sequence, and what they see.
            pass.Row = pass.End;
            pass = NextPass(pass, rowsEnd, positions, sequences, cache, numbers);
            if (cut.Takes != TakenRows.All && IsAlone(pass, sequences, numbers) != (cut.Takes == TakenRows.Alone))
                continue;
            int from = IntrinsicMath.Max(pass.MinFirst / numbers.Chunk, Grid.IdxY * numbers.ChunksOfGroup);
            int to = IntrinsicMath.Min(pass.MaxLast / numbers.Chunk, (Grid.IdxY + 1) * numbers.ChunksOfGroup - 1);
            if (pass.MaxLast < 0 || from > to)
            {
                if (!isWhole)
                    continue;
                to = from - 1; // rows that see nothing still have a result: zeros
            }

            // 2. Its queries as operands, and what each column sees.
            Group.Barrier(); // what an earlier pass's columns see has been read by all
            if (Group.IdxX < MostColumns)
            {
                int last = TensorPass.Has(pass, Group.IdxX) ? AttentionNumbers.Last(numbers, pass.FirstRow + Group.IdxX / pass.Heads, positions, sequences, cache) : -1;
                lasts[Group.IdxX] = last;
                firsts[Group.IdxX] = AttentionNumbers.First(numbers, last);
            }
            for (int tile = 0; tile < cut.Tiles; tile++)
                queries[(warp * MostTiles + tile) * Lanes + lane] = Query<TElement>(q, pass, 8 * tile + (lane >> 2), 16 * warp + even, numbers);
            Group.Barrier();

            TensorTiles merged = default;
            ColumnPairs state = default;
            state.T0 = state.T1 = state.T2 = state.T3 = TensorSoftmax.Nothing();
            for (int chunk = from; chunk <= to; chunk++)
            {
                // 3. Where the chunk's positions lie: lane k looks 16 of them up, for all.
                int start = chunk * numbers.Chunk;
                int squares = lane < warps ? TensorPass.SquareOf(pass, start + 16 * lane, cache, tables, numbers) : -1;

                // 4. Products with the warp's 16 keys; the first values are on their way meanwhile.
                TensorTiles scores = default;
                int key = start + 16 * warp, square = Warp.Shuffle(squares, warp);
                if (square >= 0)
                {
                    for (int d = 0; d < warps; d += 4)
                    {
                        long at = (long)square * Lanes + lane;
                        UInt4 a0 = keys[at + d * Lanes], a1 = keys[at + IntrinsicMath.Min(d + 1, warps - 1) * Lanes];
                        UInt4 a2 = keys[at + IntrinsicMath.Min(d + 2, warps - 1) * Lanes], a3 = keys[at + IntrinsicMath.Min(d + 3, warps - 1) * Lanes];
                        scores = Multiply<TElement>(a0, queries, d, lane, scores, cut.Tiles);
                        if (d + 1 < warps)
                            scores = Multiply<TElement>(a1, queries, d + 1, lane, scores, cut.Tiles);
                        if (d + 2 < warps)
                            scores = Multiply<TElement>(a2, queries, d + 2, lane, scores, cut.Tiles);
                        if (d + 3 < warps)
                            scores = Multiply<TElement>(a3, queries, d + 3, lane, scores, cut.Tiles);
                    }
                }
                UInt4 v0 = Values(values, pass, start, 0, squares, warp, lane), v1 = Values(values, pass, start, 1, squares, warp, lane);
                UInt4 v2 = Values(values, pass, start, 2, squares, warp, lane), v3 = Values(values, pass, start, 3, squares, warp, lane);

                // 5. Scores: −∞ where a column does not see the key. Each warp leaves its columns' maxima.
                int here = warp * MostPairs + (lane & 3);
                if (square >= 0)
                {
                    bool isSeen = key >= pass.MaxFirst && key + 15 <= pass.MinLast;
                    scores.T0 = TensorSoftmax.Scores(scores.T0, key + (lane >> 2), even, isSeen, firsts, lasts, numbers);
                    if (cut.Tiles > 1)
                        scores.T1 = TensorSoftmax.Scores(scores.T1, key + (lane >> 2), 8 + even, isSeen, firsts, lasts, numbers);
                    if (cut.Tiles > 2)
                        scores.T2 = TensorSoftmax.Scores(scores.T2, key + (lane >> 2), 16 + even, isSeen, firsts, lasts, numbers);
                    if (cut.Tiles > 3)
                        scores.T3 = TensorSoftmax.Scores(scores.T3, key + (lane >> 2), 24 + even, isSeen, firsts, lasts, numbers);
                }
                else
                {
                    scores.T0 = scores.T1 = scores.T2 = scores.T3 = TensorSoftmax.Unseen();
                }
                TensorSoftmax.LeaveMaxima(scores.T0, maxima, here, lane);
                if (cut.Tiles > 1)
                    TensorSoftmax.LeaveMaxima(scores.T1, maxima, here + 4, lane);
                if (cut.Tiles > 2)
                    TensorSoftmax.LeaveMaxima(scores.T2, maxima, here + 8, lane);
                if (cut.Tiles > 3)
                    TensorSoftmax.LeaveMaxima(scores.T3, maxima, here + 12, lane);
                Group.Barrier();

                // 6. Weights relative to the chunk's maximum, as operands; each warp leaves its columns' sums.
                ColumnPairs part = default;
                part.T0 = TensorSoftmax.ChunkMaxima(maxima, lane & 3, warps);
                TensorSoftmax.LeaveWeights<TElement>(scores.T0, part.T0, weights, (warp * MostTiles) * Lanes, sums, here, lane);
                if (cut.Tiles > 1)
                {
                    part.T1 = TensorSoftmax.ChunkMaxima(maxima, 4 + (lane & 3), warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T1, part.T1, weights, (warp * MostTiles + 1) * Lanes, sums, here + 4, lane);
                }
                if (cut.Tiles > 2)
                {
                    part.T2 = TensorSoftmax.ChunkMaxima(maxima, 8 + (lane & 3), warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T2, part.T2, weights, (warp * MostTiles + 2) * Lanes, sums, here + 8, lane);
                }
                if (cut.Tiles > 3)
                {
                    part.T3 = TensorSoftmax.ChunkMaxima(maxima, 12 + (lane & 3), warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T3, part.T3, weights, (warp * MostTiles + 3) * Lanes, sums, here + 12, lane);
                }
                Group.Barrier();

                // 7. Weighted values of 16 elements.
                TensorTiles weighted = default;
                if (TensorPass.IsMixed(pass, start, numbers.Chunk))
                {
                    for (int k = 0; k < warps; k++)
                    {
                        UInt4 v = v0;
                        v0 = Values(values, pass, start, k + 1, squares, warp, lane);
                        weighted = TensorPass.IsMixed(pass, start + 16 * k, KvView.Square)
                            ? MultiplySifted<TElement>(v, weights, k, lane, weighted, cut.Tiles, start + 16 * k, firsts, lasts)
                            : Multiply<TElement>(v, weights, k, lane, weighted, cut.Tiles);
                    }
                }
                else
                {
                    for (int k = 0; k < warps; k += 4)
                    {
                        if (k > 0)
                        {
                            v0 = Values(values, pass, start, k, squares, warp, lane);
                            v1 = Values(values, pass, start, k + 1, squares, warp, lane);
                            v2 = Values(values, pass, start, k + 2, squares, warp, lane);
                            v3 = Values(values, pass, start, k + 3, squares, warp, lane);
                        }
                        weighted = Multiply<TElement>(v0, weights, k, lane, weighted, cut.Tiles);
                        if (k + 1 < warps)
                            weighted = Multiply<TElement>(v1, weights, k + 1, lane, weighted, cut.Tiles);
                        if (k + 2 < warps)
                            weighted = Multiply<TElement>(v2, weights, k + 2, lane, weighted, cut.Tiles);
                        if (k + 3 < warps)
                            weighted = Multiply<TElement>(v3, weights, k + 3, lane, weighted, cut.Tiles);
                    }
                }

                // 8. Merge the chunk, or leave it for the merge of a second launch.
                part.T0 = TensorSoftmax.ChunkSums(part.T0, sums, lane & 3, warps);
                if (cut.Tiles > 1)
                    part.T1 = TensorSoftmax.ChunkSums(part.T1, sums, 4 + (lane & 3), warps);
                if (cut.Tiles > 2)
                    part.T2 = TensorSoftmax.ChunkSums(part.T2, sums, 8 + (lane & 3), warps);
                if (cut.Tiles > 3)
                    part.T3 = TensorSoftmax.ChunkSums(part.T3, sums, 12 + (lane & 3), warps);
                if (isWhole)
                {
                    MergedTile tile = TensorSoftmax.Merge(merged.T0, state.T0, weighted.T0, part.T0);
                    merged.T0 = tile.Values;
                    state.T0 = tile.Columns;
                    if (cut.Tiles > 1)
                    {
                        tile = TensorSoftmax.Merge(merged.T1, state.T1, weighted.T1, part.T1);
                        merged.T1 = tile.Values;
                        state.T1 = tile.Columns;
                    }
                    if (cut.Tiles > 2)
                    {
                        tile = TensorSoftmax.Merge(merged.T2, state.T2, weighted.T2, part.T2);
                        merged.T2 = tile.Values;
                        state.T2 = tile.Columns;
                    }
                    if (cut.Tiles > 3)
                    {
                        tile = TensorSoftmax.Merge(merged.T3, state.T3, weighted.T3, part.T3);
                        merged.T3 = tile.Values;
                        state.T3 = tile.Columns;
                    }
                }
                else
                {
                    TensorResults.Leave(partials, pass, chunk, 0, weighted.T0, part.T0, warp, lane, numbers);
                    if (cut.Tiles > 1)
                        TensorResults.Leave(partials, pass, chunk, 8, weighted.T1, part.T1, warp, lane, numbers);
                    if (cut.Tiles > 2)
                        TensorResults.Leave(partials, pass, chunk, 16, weighted.T2, part.T2, warp, lane, numbers);
                    if (cut.Tiles > 3)
                        TensorResults.Leave(partials, pass, chunk, 24, weighted.T3, part.T3, warp, lane, numbers);
                }
            }

            // 9. The weighted means.
            if (!isWhole)
                continue;
            TensorResults.Write(y, pass, 0, merged.T0, state.T0, warp, lane, numbers);
            if (cut.Tiles > 1)
                TensorResults.Write(y, pass, 8, merged.T1, state.T1, warp, lane, numbers);
            if (cut.Tiles > 2)
                TensorResults.Write(y, pass, 16, merged.T2, state.T2, warp, lane, numbers);
            if (cut.Tiles > 3)
                TensorResults.Write(y, pass, 24, merged.T3, state.T3, warp, lane, numbers);
        }
    }

    /// <summary>The rows from pass.Row on that belong to one sequence, and the positions they see.</summary>
    private static TensorPass NextPass(TensorPass pass, int rowsEnd, ArrayView<int> positions, ArrayView<int> sequences, KvView cache, AttentionNumbers numbers)
    {
        pass.Sequence = sequences[pass.Row];
        pass.MinFirst = pass.MinLast = int.MaxValue;
        pass.MaxFirst = pass.MaxLast = -1;
        int row = pass.Row;
        while (row < rowsEnd && sequences[row] == pass.Sequence)
        {
            int last = AttentionNumbers.Last(numbers, row, positions, sequences, cache);
            pass.MinLast = IntrinsicMath.Min(pass.MinLast, last);
            if (last >= 0)
            {
                int first = AttentionNumbers.First(numbers, last);
                pass.MinFirst = IntrinsicMath.Min(pass.MinFirst, first);
                pass.MaxFirst = IntrinsicMath.Max(pass.MaxFirst, first);
                pass.MaxLast = IntrinsicMath.Max(pass.MaxLast, last);
            }
            row++;
        }
        pass.End = row;
        return pass;
    }

    private static bool IsAlone(TensorPass pass, ArrayView<int> sequences, AttentionNumbers numbers) =>
        pass.End - pass.Row == 1
        && (pass.Row == 0 || sequences[pass.Row - 1] != pass.Sequence)
        && (pass.End == numbers.Rows || sequences[pass.End] != pass.Sequence);

    /// <summary>A lane's part of a column's 16 elements of the query as a B operand; zeros where the column is none of the pass.</summary>
    private static UInt2 Query<TElement>(ArrayView<float> q, TensorPass pass, int column, int element, AttentionNumbers numbers)
        where TElement : unmanaged, ITensorElement
    {
        TElement type = default;
        UInt2 operand = default;
        if (TensorPass.Has(pass, column))
        {
            int place = (pass.FirstRow + column / pass.Heads) * numbers.StrideQ + (pass.FirstHead + column % pass.Heads) * numbers.HeadDim + element;
            operand.A = type.Pack(q[place], q[place + 1]);
            operand.B = type.Pack(q[place + 8], q[place + 9]);
        }
        return operand;
    }

    /// <summary>A lane's part of one of the chunk's squares of values; all lanes call together.</summary>
    private static UInt4 Values(ArrayView<UInt4> values, TensorPass pass, int start, int square, int squares, int warp, int lane) =>
        TensorValues.Load(values, pass, start + 16 * square, Warp.Shuffle(squares, square), warp, lane);

    /// <summary>c + a · b for all tiles; b's operands lie side by side.</summary>
    private static TensorTiles Multiply<TElement>(UInt4 a, ArrayView<UInt2> b, int square, int lane, TensorTiles c, int tiles)
        where TElement : unmanaged, ITensorElement
    {
        TElement type = default;
        int at = square * MostTiles * Lanes + lane;
        c.T0 = type.Multiply(a, b[at], c.T0);
        if (tiles > 1)
            c.T1 = type.Multiply(a, b[at + Lanes], c.T1);
        if (tiles > 2)
            c.T2 = type.Multiply(a, b[at + 2 * Lanes], c.T2);
        if (tiles > 3)
            c.T3 = type.Multiply(a, b[at + 3 * Lanes], c.T3);
        return c;
    }

    /// <summary>c + a · b for all tiles, with zeros in each column's values where that column does not see them.</summary>
    /// <remarks>
    /// Weights there are zero already, but zero times infinity or NaN is not, and how a tensor core aligns its sum to a product of zero and a large value
    /// is the card's own affair. Neighbouring columns of one row share a product.
    /// </remarks>
    private static TensorTiles MultiplySifted<TElement>(
        UInt4 a, ArrayView<UInt2> b, int square, int lane, TensorTiles c, int tiles, int position, ArrayView<int> firsts, ArrayView<int> lasts)
        where TElement : unmanaged, ITensorElement
    {
        int at = square * MostTiles * Lanes + lane;
        c.T0 = MultiplySifted<TElement>(a, b[at], c.T0, position, 0, lane, firsts, lasts);
        if (tiles > 1)
            c.T1 = MultiplySifted<TElement>(a, b[at + Lanes], c.T1, position, 8, lane, firsts, lasts);
        if (tiles > 2)
            c.T2 = MultiplySifted<TElement>(a, b[at + 2 * Lanes], c.T2, position, 16, lane, firsts, lasts);
        if (tiles > 3)
            c.T3 = MultiplySifted<TElement>(a, b[at + 3 * Lanes], c.T3, position, 24, lane, firsts, lasts);
        return c;
    }

    private static Float4 MultiplySifted<TElement>(UInt4 a, UInt2 b, Float4 c, int position, int firstColumn, int lane, ArrayView<int> firsts, ArrayView<int> lasts)
        where TElement : unmanaged, ITensorElement
    {
        TElement type = default;
        Float4 all = c, one = c;
        for (int column = 0; column < 8; column++)
        {
            int first = firsts[firstColumn + column], last = lasts[firstColumn + column];
            if (column == 0 || first != firsts[firstColumn + column - 1] || last != lasts[firstColumn + column - 1])
                one = type.Multiply(TensorValues.Sift(a, position + (lane & 3) * 2, first, last), b, c);
            all = TensorValues.TakeColumn(all, one, column, lane);
        }
        return all;
    }
}
