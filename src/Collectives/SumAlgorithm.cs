using System.Diagnostics;
using TpServe.Kernels;

namespace TpServe.Collectives;

/// <summary>Exchanges the pieces of a sum in chunks that fit a block, and finishes the tree from them.</summary>
/// <remarks>
/// One-shot: every rank reads every piece and adds all of them; one round a chunk.
/// Two-shot: rank r reads only slice r of every piece and adds that; a second round hands the slices round. Each rank adds 1/degree as much and,
/// where bytes travel, sends 1/degree as much, for one round more.
/// Whole: where peers read a block in place and it holds all pieces, these lie in it as they were computed, in one chunk; what was computed in the block
/// itself (<see cref="IExchange.TryWindow"/>) is never copied. It depends on sizes alone, so that all ranks do the same.
/// Finished rows go to the consumer some at a time, while they are in the cache.
/// Numerics an element's tree is the same in both, so which one runs leaves no trace in the bits.
/// </remarks>
internal sealed unsafe class SumAlgorithm(IExchange exchange, int rank, int degree)
{
    /// <summary>Slices and chunks are whole cache lines of the result.</summary>
    private const int LineElements = 16;

    /// <summary>Elements finished before they go to the consumer: with the pieces, the stream and its norm they fill some 600 KB of the second-level cache.</summary>
    private const int ConsumedElements = 32 << 10;

    private readonly TreeFinisher _finisher = new();
    private readonly int[] _bounds = new int[degree + 1];
    private nint[] _pieces = [];

    /// <summary>result[i] ← the tree over all ranks' pieces.</summary>
    /// <param name="operation">The operation the rounds belong to.</param>
    /// <param name="schedule">Pieces of each rank and the order of merges.</param>
    /// <param name="mine">This rank's pieces, one after the other, <paramref name="elements"/> floats each; may be null where it has none.</param>
    /// <param name="elements">Floats of one piece and of the result.</param>
    /// <param name="result">Where the sum goes; may be <paramref name="mine"/> where that is one piece.</param>
    /// <param name="consumer">Takes finished rows; null where nobody does.</param>
    public void Run<TMerge>(OperationContext operation, SumSchedule schedule, float* mine, long elements, float* result, SumRows? consumer = null)
        where TMerge : struct, IMerge
    {
        if (_pieces.Length < schedule.Pieces)
            _pieces = new nint[schedule.Pieces];
        bool whole = exchange.ReadsInPlace && elements * schedule.MostPieces * sizeof(float) <= exchange.BlockBytes;
        bool twoShot = degree > (whole ? 2 : 1) && elements * schedule.Pieces * sizeof(float) >= exchange.TwoShotBytes;
        int chunk = whole ? (int)elements : exchange.CopyBytes / sizeof(float) / schedule.MostPieces / LineElements * LineElements;
        if (consumer is not null && consumer.Columns <= chunk)
            chunk -= chunk % consumer.Columns;

        // At least one round, even for nothing: ranks in another operation must be found.
        long first = 0;
        do
        {
            int count = (int)Math.Min(chunk, elements - first);
            if (twoShot)
            {
                AddMySlice<TMerge>(operation, schedule, mine + first, elements, count, whole, result + first);
                ShareSlices(operation, count, result + first);
                consumer?.Take(first + count);
            }
            else
            {
                AddAll<TMerge>(operation, schedule, mine + first, elements, count, result + first, consumer, first);
            }
            first += count;
        } while (first < elements);
    }

    private void AddAll<TMerge>(
        OperationContext operation, SumSchedule schedule, float* mine, long stride, int count, float* result, SumRows? consumer, long before)
        where TMerge : struct, IMerge
    {
        int myFirst = schedule.FirstPieceOfRank[rank];
        PublishPieces(operation, schedule, mine, stride, count);
        for (int piece = 0; piece < schedule.PiecesOfRank[rank]; piece++)
            _pieces[myFirst + piece] = (nint)(mine + piece * stride);

        for (int peer = 0; peer < degree; peer++)
        {
            if (peer == rank)
                continue;
            int pieces = schedule.PiecesOfRank[peer];
            float* theirs = (float*)exchange.Await(operation, peer, 0, pieces * count * sizeof(float));
            for (int piece = 0; piece < pieces; piece++)
                _pieces[schedule.FirstPieceOfRank[peer] + piece] = (nint)(theirs + (long)piece * count);
        }
        Span<nint> all = _pieces.AsSpan(0, schedule.Pieces);
        int some = consumer is null ? count : Math.Min(count, Math.Max(1, ConsumedElements / consumer.Columns) * consumer.Columns);
        for (int first = 0; first < count; first += some)
        {
            int part = Math.Min(some, count - first);
            _finisher.Finish<TMerge>(schedule, all, result + first, part);
            foreach (ref nint piece in all)
                piece += part * sizeof(float);
            consumer?.Take(before + first + part);
        }
        exchange.Close();
    }

    private void PublishPieces(OperationContext operation, SumSchedule schedule, float* mine, long stride, int count)
    {
        int pieces = schedule.PiecesOfRank[rank];
        float* block = (float*)exchange.Open(operation);
        for (int piece = 0; piece < pieces && block != mine; piece++)
            Copy(mine + piece * stride, block + (long)piece * count, count);
        exchange.Publish(operation, pieces * count * sizeof(float));
    }

    private void AddMySlice<TMerge>(OperationContext operation, SumSchedule schedule, float* mine, long stride, int count, bool whole, float* result)
        where TMerge : struct, IMerge
    {
        int myPieces = schedule.PiecesOfRank[rank], myFirst = schedule.FirstPieceOfRank[rank];
        int sliceStart = SliceStart(rank, count), sliceCount = SliceStart(rank + 1, count) - sliceStart;

        // 1. The block holds all my pieces, or for each peer in turn that peer's slice of each.
        if (whole)
            PublishPieces(operation, schedule, mine, stride, count);
        else
            PublishSlices(operation, myPieces, mine, stride, count);

        // 2. Every rank's pieces of my slice. A peer's slices skip that peer's own.
        for (int piece = 0; piece < myPieces; piece++)
            _pieces[myFirst + piece] = (nint)(mine + piece * stride + sliceStart);
        for (int peer = 0; peer < degree; peer++)
        {
            if (peer == rank)
                continue;
            int pieces = schedule.PiecesOfRank[peer];
            int before = peer < rank ? sliceStart - (SliceStart(peer + 1, count) - SliceStart(peer, count)) : sliceStart;
            float* theirs = (float*)(whole
                ? exchange.Await(operation, peer, 0, pieces * count * sizeof(float))
                : exchange.Await(operation, peer, pieces * before * sizeof(float), pieces * sliceCount * sizeof(float)));
            for (int piece = 0; piece < pieces; piece++)
                _pieces[schedule.FirstPieceOfRank[peer] + piece] = (nint)(whole ? theirs + ((long)piece * count) + sliceStart : theirs + ((long)piece * sliceCount));
        }
        _finisher.Finish<TMerge>(schedule, _pieces.AsSpan(0, schedule.Pieces), result + sliceStart, sliceCount);
        exchange.Close();
    }

    private void PublishSlices(OperationContext operation, int pieces, float* mine, long stride, int count)
    {
        float* block = (float*)exchange.Open(operation);
        int filled = 0;
        for (int peer = 0; peer < degree; peer++)
        {
            _bounds[peer] = filled * sizeof(float);
            if (peer == rank)
                continue;
            int start = SliceStart(peer, count), length = SliceStart(peer + 1, count) - start;
            for (int piece = 0; piece < pieces; piece++, filled += length)
                Copy(mine + piece * stride + start, block + filled, length);
        }
        _bounds[degree] = filled * sizeof(float);
        exchange.PublishParts(operation, _bounds);
    }

    private void ShareSlices(OperationContext operation, int count, float* result)
    {
        int start = SliceStart(rank, count), length = SliceStart(rank + 1, count) - start;
        Copy(result + start, (float*)exchange.Open(operation), length);
        exchange.Publish(operation, length * sizeof(float));
        for (int peer = 0; peer < degree; peer++)
        {
            if (peer == rank)
                continue;
            int theirStart = SliceStart(peer, count), theirLength = SliceStart(peer + 1, count) - theirStart;
            Copy((float*)exchange.Await(operation, peer, 0, theirLength * sizeof(float)), result + theirStart, theirLength);
        }
        exchange.Close();
    }

    /// <summary>Where slice <paramref name="slice"/> of a chunk begins; for slice = degree, the chunk's end.</summary>
    private int SliceStart(int slice, int count)
    {
        long lines = (count + LineElements - 1) / LineElements;
        return (int)Math.Min(lines * slice / degree * LineElements, count);
    }

    private static void Copy(float* from, float* to, int count) =>
        Buffer.MemoryCopy(from, to, (long)count * sizeof(float), (long)count * sizeof(float));
}

/// <summary>Who takes finished rows of a sum, and how far that has come.</summary>
/// <remarks>One object serves all sums of a rank, so that a step allocates nothing.</remarks>
internal sealed class SumRows
{
    private ISumConsumer? _consumer;
    private Tensor _sums;
    private int _taken;
    private long _ticks;

    /// <summary>Elements of a row.</summary>
    public int Columns => _sums.Columns;

    /// <summary>Begins the sum whose rows these are.</summary>
    public void Begin(Tensor sums, ISumConsumer consumer) => (_sums, _consumer, _taken) = (sums, consumer, 0);

    /// <summary>The first so many elements are final.</summary>
    public void Take(long elements)
    {
        int rows = Columns == 0 ? 0 : (int)(elements / Columns) - _taken;
        if (rows <= 0)
            return;
        long start = Stopwatch.GetTimestamp();
        _consumer!.Take(_sums.RowSlice(_taken, rows), _taken);
        _taken += rows;
        _ticks += Stopwatch.GetTimestamp() - start;
    }

    /// <summary>Stopwatch ticks that the consumer took since the last call: they are its own, not the exchange's.</summary>
    public long TakeTicks()
    {
        long ticks = _ticks;
        _ticks = 0;
        return ticks;
    }
}
