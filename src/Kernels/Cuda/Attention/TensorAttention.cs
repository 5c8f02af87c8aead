using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

/// <summary>Paged attention on tensor cores, for caches of 16-bit floats stored as operands (<see cref="KvView"/>).</summary>
/// <remarks>
/// Shapes   a column is one query head of one row. A group has up to 32 columns in tiles of 8, all of one KV head: in decode the heads of one row, in
///          prefill those of several rows. Rows of different sequences in one group are attended for one sequence after the other.
/// Launch   headDim / 16 warps for a piece of heads × some rows × a range of chunks; 37 KiB of shared memory; two barriers a chunk. headDim a multiple of 16,
///          at most 256. The grid depends on the shapes alone, so that a recorded step replays it for any length; groups beyond a row's length end at once.
///          Keys and values go from memory to registers, each operand by one 16-byte load a lane; only queries and weights pass through shared memory.
/// Numerics chunks of headDim positions from position 0. S^T = K · Q: warp w multiplies keys [16w, 16w + 16) of the chunk, a chain of products of 16 elements.
///          Queries and weights are rounded to the cache's type; scores, sums and weighted values are float32. A chunk's sum adds each warp's butterfly in
///          ascending order, before weights are rounded. O^T = V^T · P: warp w has elements [16w, 16w + 16), a chain over the chunk's keys, 16 at a time, from
///          zero. Chunks are merged in ascending order (<see cref="SoftmaxMath"/>). A column of an mma depends on that column alone, what a column does not see
///          counts as weight zero and, in a chunk that holds infinities or NaNs, value zero; so neither the neighbours nor the cut change a bit.
/// Cost     decode reads each key and value once per piece: 4 · headDim · kvHeads bytes a position, bound by memory. Prefill does 4 · headDim flops a position and
///          head, reads keys and values once per 32 columns (mostly from the second cache), and one 8-byte operand of shared memory a lane and mma, which
///          bounds it at 1024 multiply-adds a cycle and multiprocessor.
/// Source   Milakov and Gimelshein 2018; paging: Kwon et al. 2023; the cut over chunks: Dao et al. 2023 (Flash-Decoding).
/// Oracle   the reference backend (float64) with queries rounded as here, NMSE ≤ 2e-6 for binary16 and 1e-4 for bfloat16: the rounding of weights.
/// </remarks>
internal sealed class TensorAttention(CudaQueue queue)
{
    /// <summary>Most tiles of 8 columns.</summary>
    public const int MostTiles = 4;

    /// <summary>Most columns of a group.</summary>
    public const int MostColumns = 8 * MostTiles;

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

    [DeviceKernel(typeof(HalfElement), Uses = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")]
    [DeviceKernel(typeof(BFloatElement), Uses = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")]
    internal static void AttendKernel<TElement>(
        ArrayView<float> q, KvView cache, ArrayView<int> pieces, ArrayView<int> positions, ArrayView<int> sequences, ArrayView<int> tables,
        ArrayView<float> y, ArrayView<float> partials, AttentionNumbers numbers, TensorCut cut)
        where TElement : unmanaged, ITensorElement
    {
        ArrayView<UInt2> queries = SharedMemory.Allocate<UInt2>(MostWarps * MostTiles * Lanes), weights = SharedMemory.Allocate<UInt2>(MostWarps * MostTiles * Lanes);
        ArrayView<float> maxima = SharedMemory.Allocate<float>(MostWarps * MostColumns), sums = SharedMemory.Allocate<float>(MostWarps * MostColumns);
        ArrayView<int> firsts = SharedMemory.Allocate<int>(MostColumns), lasts = SharedMemory.Allocate<int>(MostColumns);
        ArrayView<UInt4> keys = cache.Keys.Cast<UInt4>(), values = cache.Values.Cast<UInt4>();
        int warp = Group.IdxX / Lanes, lane = Group.IdxX % Lanes, warps = numbers.HeadDim / KvView.Square, piece = Grid.IdxX % cut.Pieces;
        bool isWhole = numbers.ChunksOfGroup >= numbers.Chunks;
        TensorPass pass = default;
        pass.FirstRow = Grid.IdxX / cut.Pieces * cut.Rows;
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
            Group.Barrier(); // an earlier pass has been read by all
            if (Group.IdxX < MostColumns)
            {
                int last = TensorPass.Has(pass, Group.IdxX) ? AttentionNumbers.Last(numbers, pass.FirstRow + Group.IdxX / pass.Heads, positions, sequences, cache) : -1;
                lasts[Group.IdxX] = last;
                firsts[Group.IdxX] = AttentionNumbers.First(numbers, last);
            }
            for (int tile = 0; tile < cut.Tiles; tile++)
                queries[(warp * MostTiles + tile) * Lanes + lane] = Query<TElement>(q, pass, 8 * tile + lane / 4, 16 * warp + lane % 4 * 2, numbers);
            Group.Barrier();

            TensorTiles merged = default;
            ColumnPairs state = default;
            state.T0 = state.T1 = state.T2 = state.T3 = TensorSoftmax.Nothing();
            for (int chunk = from; chunk <= to; chunk++)
            {
                // 3. Scores of 16 keys; the first values are on their way meanwhile.
                int start = chunk * numbers.Chunk, key = start + 16 * warp;
                TensorTiles scores = default;
                long place = TensorPass.SquareRow(pass, key, cache, tables, numbers);
                if (place >= 0)
                {
                    for (int d = 0; d < warps; d += 4)
                    {
                        long at = place + lane;
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
                UInt4 v0 = TensorValues.Load(values, pass, start, 0, warp, lane, cache, tables, numbers), v1 = TensorValues.Load(values, pass, start, 1, warp, lane, cache, tables, numbers);
                UInt4 v2 = TensorValues.Load(values, pass, start, 2, warp, lane, cache, tables, numbers), v3 = TensorValues.Load(values, pass, start, 3, warp, lane, cache, tables, numbers);

                // 4. What a column does not see has score −∞. Each warp leaves its columns' maxima.
                int here = warp * MostColumns + lane % 4 * 2;
                key += lane / 4;
                bool isKnown = place >= 0;
                scores.T0 = TensorSoftmax.Scores(scores.T0, isKnown, key, lane % 4 * 2, firsts, lasts, numbers);
                TensorSoftmax.LeaveMaxima(scores.T0, maxima, here, lane);
                if (cut.Tiles > 1)
                {
                    scores.T1 = TensorSoftmax.Scores(scores.T1, isKnown, key, 8 + lane % 4 * 2, firsts, lasts, numbers);
                    TensorSoftmax.LeaveMaxima(scores.T1, maxima, here + 8, lane);
                }
                if (cut.Tiles > 2)
                {
                    scores.T2 = TensorSoftmax.Scores(scores.T2, isKnown, key, 16 + lane % 4 * 2, firsts, lasts, numbers);
                    TensorSoftmax.LeaveMaxima(scores.T2, maxima, here + 16, lane);
                }
                if (cut.Tiles > 3)
                {
                    scores.T3 = TensorSoftmax.Scores(scores.T3, isKnown, key, 24 + lane % 4 * 2, firsts, lasts, numbers);
                    TensorSoftmax.LeaveMaxima(scores.T3, maxima, here + 24, lane);
                }
                Group.Barrier();

                // 5. Weights relative to the chunk's maximum, as operands; each warp leaves its columns' sums.
                ColumnPairs part = default;
                part.T0 = TensorSoftmax.ChunkMaxima(maxima, lane % 4 * 2, warps);
                TensorSoftmax.LeaveWeights<TElement>(scores.T0, part.T0, weights, (warp * MostTiles) * Lanes, sums, here, lane);
                if (cut.Tiles > 1)
                {
                    part.T1 = TensorSoftmax.ChunkMaxima(maxima, 8 + lane % 4 * 2, warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T1, part.T1, weights, (warp * MostTiles + 1) * Lanes, sums, here + 8, lane);
                }
                if (cut.Tiles > 2)
                {
                    part.T2 = TensorSoftmax.ChunkMaxima(maxima, 16 + lane % 4 * 2, warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T2, part.T2, weights, (warp * MostTiles + 2) * Lanes, sums, here + 16, lane);
                }
                if (cut.Tiles > 3)
                {
                    part.T3 = TensorSoftmax.ChunkMaxima(maxima, 24 + lane % 4 * 2, warps);
                    TensorSoftmax.LeaveWeights<TElement>(scores.T3, part.T3, weights, (warp * MostTiles + 3) * Lanes, sums, here + 24, lane);
                }
                Group.Barrier();

                // 6. Weighted values of 16 elements.
                TensorTiles weighted = default;
                bool isMixed = start + numbers.Chunk - 1 > pass.MinLast || start < pass.MaxFirst; // not all columns see all of the chunk
                isMixed &= pass.MinLast < pass.MaxLast;
                uint invalid = 0;
                for (int k = 0; k < warps; k += 4)
                {
                    if (k > 0)
                    {
                        v0 = TensorValues.Load(values, pass, start, k, warp, lane, cache, tables, numbers);
                        v1 = TensorValues.Load(values, pass, start, k + 1, warp, lane, cache, tables, numbers);
                        v2 = TensorValues.Load(values, pass, start, k + 2, warp, lane, cache, tables, numbers);
                        v3 = TensorValues.Load(values, pass, start, k + 3, warp, lane, cache, tables, numbers);
                    }
                    if (isMixed)
                        invalid |= TensorValues.Invalid<TElement>(v0) | TensorValues.Invalid<TElement>(v1) | TensorValues.Invalid<TElement>(v2) | TensorValues.Invalid<TElement>(v3);
                    weighted = Multiply<TElement>(v0, weights, k, lane, weighted, cut.Tiles);
                    if (k + 1 < warps)
                        weighted = Multiply<TElement>(v1, weights, k + 1, lane, weighted, cut.Tiles);
                    if (k + 2 < warps)
                        weighted = Multiply<TElement>(v2, weights, k + 2, lane, weighted, cut.Tiles);
                    if (k + 3 < warps)
                        weighted = Multiply<TElement>(v3, weights, k + 3, lane, weighted, cut.Tiles);
                }
                if (isMixed && WarpBits.Or(invalid) != 0)
                    weighted = Sifted<TElement>(values, pass, start, warp, lane, cache, tables, numbers, weights, firsts, lasts, cut.Tiles);

                // 7. Merge the chunk, or leave it for the merge of a second launch.
                part.T0 = TensorSoftmax.ChunkSums(part.T0, sums, lane % 4 * 2, warps);
                if (cut.Tiles > 1)
                    part.T1 = TensorSoftmax.ChunkSums(part.T1, sums, 8 + lane % 4 * 2, warps);
                if (cut.Tiles > 2)
                    part.T2 = TensorSoftmax.ChunkSums(part.T2, sums, 16 + lane % 4 * 2, warps);
                if (cut.Tiles > 3)
                    part.T3 = TensorSoftmax.ChunkSums(part.T3, sums, 24 + lane % 4 * 2, warps);
                if (isWhole)
                {
                    merged.T0 = TensorSoftmax.Merge(merged.T0, state.T0, weighted.T0, part.T0);
                    merged.T1 = TensorSoftmax.Merge(merged.T1, state.T1, weighted.T1, part.T1);
                    merged.T2 = TensorSoftmax.Merge(merged.T2, state.T2, weighted.T2, part.T2);
                    merged.T3 = TensorSoftmax.Merge(merged.T3, state.T3, weighted.T3, part.T3);
                    state.T0 = TensorSoftmax.Merge(state.T0, part.T0);
                    state.T1 = TensorSoftmax.Merge(state.T1, part.T1);
                    state.T2 = TensorSoftmax.Merge(state.T2, part.T2);
                    state.T3 = TensorSoftmax.Merge(state.T3, part.T3);
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

            // 8. The weighted means.
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
            if (last >= 0)
            {
                int first = AttentionNumbers.First(numbers, last);
                pass.MinFirst = IntrinsicMath.Min(pass.MinFirst, first);
                pass.MaxFirst = IntrinsicMath.Max(pass.MaxFirst, first);
                pass.MinLast = IntrinsicMath.Min(pass.MinLast, last);
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

    /// <summary>A chunk's weighted values where some are infinite or NaN and some columns do not see them: zero times those is not zero.</summary>
    /// <remarks>Each column has products of its own, with zeros in place of what it does not see; for finite values these are the ordinary products' bits.</remarks>
    private static TensorTiles Sifted<TElement>(
        ArrayView<UInt4> values, TensorPass pass, int start, int warp, int lane, KvView cache, ArrayView<int> tables, AttentionNumbers numbers,
        ArrayView<UInt2> weights, ArrayView<int> firsts, ArrayView<int> lasts, int tiles)
        where TElement : unmanaged, ITensorElement
    {
        TensorTiles all = default;
        for (int column = 0; column < 8; column++)
        {
            TensorTiles one = default;
            for (int square = 0; square < numbers.Chunk / KvView.Square; square++)
            {
                TElement type = default;
                UInt4 operand = TensorValues.Load(values, pass, start, square, warp, lane, cache, tables, numbers);
                int position = start + 16 * square + lane % 4 * 2, at = square * MostTiles * Lanes + lane;
                one.T0 = type.Multiply(TensorValues.Sift(operand, position, firsts[column], lasts[column]), weights[at], one.T0);
                if (tiles > 1)
                    one.T1 = type.Multiply(TensorValues.Sift(operand, position, firsts[8 + column], lasts[8 + column]), weights[at + Lanes], one.T1);
                if (tiles > 2)
                    one.T2 = type.Multiply(TensorValues.Sift(operand, position, firsts[16 + column], lasts[16 + column]), weights[at + 2 * Lanes], one.T2);
                if (tiles > 3)
                    one.T3 = type.Multiply(TensorValues.Sift(operand, position, firsts[24 + column], lasts[24 + column]), weights[at + 3 * Lanes], one.T3);
            }
            all.T0 = TensorValues.TakeColumn(all.T0, one.T0, column, lane);
            all.T1 = TensorValues.TakeColumn(all.T1, one.T1, column, lane);
            all.T2 = TensorValues.TakeColumn(all.T2, one.T2, column, lane);
            all.T3 = TensorValues.TakeColumn(all.T3, one.T3, column, lane);
        }
        return all;
    }

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
}
