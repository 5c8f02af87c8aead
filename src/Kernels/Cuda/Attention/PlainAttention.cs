using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Paged attention with plain float32 arithmetic, for every cache type, head size and block size.</summary>
/// <remarks>
/// Shapes   a column is one query head of one row; columns are numbered row · heads + head.
/// Launch   a group of 128 threads for some columns × a range of chunks; 9 KiB of shared memory; three barriers a chunk. The grid depends on the shapes
///          alone, so that a recorded step replays it for any length; groups beyond a row's length end at once.
/// Numerics chunks of 64 positions from position 0. A score is a chain over the head's elements, a chunk's sum and weighted values are chains over its visible
///          positions in ascending order; chunks are merged in ascending order (<see cref="SoftmaxMath"/>). Nothing depends on which columns share a group,
///          nor on how many chunks a group walks. Positions that a row does not see are never read.
/// Cost     reads each key and value once per query head, through the cache for those that share a KV head; 4 · headDim flops a position and head. Bound by
///          the load and multiply pipes, not by memory: the tensor-core kernel is the fast one.
/// Source   Milakov and Gimelshein 2018; paging: Kwon et al. 2023; the cut over chunks: Dao et al. 2023 (Flash-Decoding).
/// Oracle   the reference backend (float64), NMSE ≤ 1e-11.
/// </remarks>
internal sealed class PlainAttention(CudaQueue queue)
{
    /// <summary>Positions of a chunk.</summary>
    public const int Chunk = 64;

    /// <summary>Most columns of a group.</summary>
    public const int MostColumns = 32;

    private const int GroupSize = 128;
    private readonly Action<KernelConfig, ArrayView<float>, KvView, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers, int> _attend =
        queue.Load<ArrayView<float>, KvView, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers, int>(AttendKernel);

    /// <summary>Attends; leaves partial results where a group does not walk all chunks.</summary>
    public void Run(AttentionOperands operands, AttentionNumbers numbers)
    {
        int columns = numbers.Rows * numbers.Heads;
        // On the emulated device a group's barriers cost more than its work; a GPU wants about a thousand groups first.
        int ofGroup = queue.IsEmulated ? MostColumns : Math.Clamp(columns / 1024, 1, MostColumns);
        int ranges = (numbers.Chunks + numbers.ChunksOfGroup - 1) / numbers.ChunksOfGroup;
        _attend(
            (new Index2D((columns + ofGroup - 1) / ofGroup, ranges), new Index2D(GroupSize, 1)), operands.Queries, operands.Cache, operands.KvHeads,
            operands.Positions, operands.Sequences, operands.Tables, operands.Result, operands.Partials, numbers, ofGroup);
    }

    [DeviceKernel(GroupSize = GroupSize)]
    private static void AttendKernel(
        ArrayView<float> q, KvView cache, ArrayView<int> kvHeads, ArrayView<int> positions, ArrayView<int> sequences, ArrayView<int> tables,
        ArrayView<float> y, ArrayView<float> partials, AttentionNumbers numbers, int ofGroup)
    {
        ArrayView<float> scores = SharedMemory.Allocate<float>(MostColumns * Chunk);
        ArrayView<float> keeps = SharedMemory.Allocate<float>(MostColumns), joins = SharedMemory.Allocate<float>(MostColumns), sums = SharedMemory.Allocate<float>(MostColumns);
        int thread = Group.IdxX, firstColumn = Grid.IdxX * ofGroup;
        int columns = IntrinsicMath.Min(ofGroup, numbers.Rows * numbers.Heads - firstColumn);
        bool isWhole = numbers.ChunksOfGroup >= numbers.Chunks;

        // 1. The chunks that any of the columns sees, within the group's range.
        int from = numbers.Chunks, to = -1;
        for (int row = firstColumn / numbers.Heads; row <= (firstColumn + columns - 1) / numbers.Heads; row++)
        {
            int last = AttentionNumbers.Last(numbers, row, positions, sequences, cache);
            if (last < 0)
                continue;
            from = IntrinsicMath.Min(from, AttentionNumbers.First(numbers, last) / Chunk);
            to = IntrinsicMath.Max(to, last / Chunk);
        }
        from = IntrinsicMath.Max(from, Grid.IdxY * numbers.ChunksOfGroup);
        to = IntrinsicMath.Min(to, (Grid.IdxY + 1) * numbers.ChunksOfGroup - 1);

        // 2. Rows that see nothing.
        if (from > to && isWhole)
            for (int i = thread; i < columns * numbers.HeadDim; i += GroupSize)
                y[Place(numbers, firstColumn, i, numbers.StrideY)] = 0f;

        float max = float.NegativeInfinity, sum = 0f;
        for (int chunk = from; chunk <= to; chunk++)
        {
            // 3. Scores of the visible positions: a thread a (column, position).
            for (int i = thread; i < columns * Chunk; i += GroupSize)
            {
                int column = firstColumn + i / Chunk, row = column / numbers.Heads, position = chunk * Chunk + i % Chunk;
                int last = AttentionNumbers.Last(numbers, row, positions, sequences, cache);
                float score = float.NegativeInfinity;
                if (position <= last && position >= AttentionNumbers.First(numbers, last))
                    score = Score(q, row * numbers.StrideQ + column % numbers.Heads * numbers.HeadDim, cache, kvHeads[column % numbers.Heads], tables, sequences[row], position, numbers);
                scores[i] = score;
            }
            Group.Barrier();

            // 4. Weights, maximum and sum of the chunk, and the factors of the merge: a thread a column.
            if (thread < columns)
            {
                int start = thread * Chunk;
                float chunkMax = float.NegativeInfinity, chunkSum = 0f;
                for (int i = start; i < start + Chunk; i++)
                    chunkMax = SoftmaxMath.Max(chunkMax, scores[i]);
                float shift = SoftmaxMath.Shift(chunkMax);
                for (int i = start; i < start + Chunk; i++)
                {
                    float weight = scores[i] == float.NegativeInfinity ? 0f : DeviceMath.Exp2(DeviceMath.Add(scores[i], -shift));
                    scores[i] = weight;
                    chunkSum = DeviceMath.Add(chunkSum, weight);
                }
                bool isSeen = chunkMax != float.NegativeInfinity;
                float keep = isSeen ? SoftmaxMath.Keep(max, chunkMax) : 1f, join = isSeen ? SoftmaxMath.Join(max, chunkMax) : 0f;
                if (isSeen)
                {
                    sum = SoftmaxMath.Merge(sum, keep, chunkSum, join);
                    max = SoftmaxMath.Max(max, chunkMax);
                }
                keeps[thread] = keep;
                joins[thread] = isSeen ? join : float.NegativeInfinity;
                sums[thread] = sum;
                if (!isWhole)
                {
                    long partial = AttentionNumbers.Partial(numbers, firstColumn + thread, chunk);
                    partials[partial] = chunkMax;
                    partials[partial + 1] = chunkSum;
                }
            }
            Group.Barrier();

            // 5. Weighted values: a thread a (column, element), which also holds what is merged so far, in y.
            for (int i = thread; i < columns * numbers.HeadDim; i += GroupSize)
            {
                int inGroup = i / numbers.HeadDim, element = i % numbers.HeadDim, column = firstColumn + inGroup, row = column / numbers.Heads;
                float weighted = Weighted(scores, inGroup * Chunk, cache, kvHeads[column % numbers.Heads], tables, sequences[row], chunk, element, numbers,
                    AttentionNumbers.Last(numbers, row, positions, sequences, cache));
                if (!isWhole)
                {
                    partials[AttentionNumbers.Partial(numbers, column, chunk) + 2 + element] = weighted;
                    continue;
                }
                int place = Place(numbers, firstColumn, i, numbers.StrideY);
                float merged = chunk == from ? 0f : y[place];
                if (joins[inGroup] != float.NegativeInfinity)
                    merged = SoftmaxMath.Merge(merged, keeps[inGroup], weighted, joins[inGroup]);
                y[place] = chunk == to ? SoftmaxMath.Mean(merged, sums[inGroup]) : merged;
            }
            if (chunk < to)
                Group.Barrier(); // the weights have been read by all
        }
    }

    private static int Place(AttentionNumbers numbers, int firstColumn, int i, int stride)
    {
        int column = firstColumn + i / numbers.HeadDim;
        return column / numbers.Heads * stride + column % numbers.Heads * numbers.HeadDim + i % numbers.HeadDim;
    }

    private static float Score(
        ArrayView<float> q, int query, KvView cache, int kvHead, ArrayView<int> tables, int sequence, int position, AttentionNumbers numbers)
    {
        int block = tables[sequence * numbers.TableStride + position / cache.BlockTokens];
        if ((uint)block >= (uint)cache.Blocks)
            return float.NegativeInfinity;
        long tile = KvView.TileStart(cache, block, kvHead);
        float dot = 0f;
        for (int i = 0; i < numbers.HeadDim; i++)
            dot = DeviceMath.Fma(q[query + i], KvView.Read(cache, cache.Keys, tile + KvView.KeyOffset(cache, position % cache.BlockTokens, i)), dot);
        return SoftmaxMath.Score(dot, numbers.Factor, numbers.Cap);
    }

    private static float Weighted(
        ArrayView<float> weights, int column, KvView cache, int kvHead, ArrayView<int> tables, int sequence, int chunk, int element, AttentionNumbers numbers, int last)
    {
        float weighted = 0f;
        int first = IntrinsicMath.Max(AttentionNumbers.First(numbers, last), chunk * Chunk);
        last = IntrinsicMath.Min(last, chunk * Chunk + Chunk - 1);
        for (int position = first; position <= last; position++)
        {
            int block = tables[sequence * numbers.TableStride + position / cache.BlockTokens];
            if ((uint)block < (uint)cache.Blocks)
                weighted = DeviceMath.Fma(
                    weights[column + position % Chunk], KvView.Read(cache, cache.Values, KvView.TileStart(cache, block, kvHead) + KvView.ValueOffset(cache, position % cache.BlockTokens, element)), weighted);
        }
        return weighted;
    }
}
