namespace TpServe.Collectives;

/// <summary>Exchanges the pieces of a sum in chunks that fit a block, and finishes the tree from them.</summary>
/// <remarks>
/// One-shot: every rank reads every piece and adds all of them; one round a chunk.
/// Two-shot: rank r reads only slice r of every piece and adds that; a second round hands the slices round. Each rank adds 1/degree as much and,
/// where bytes travel, sends 1/degree as much, for one round more.
/// Numerics an element's tree is the same in both, so which one runs leaves no trace in the bits.
/// </remarks>
internal sealed unsafe class SumAlgorithm(IExchange exchange, int rank, int degree)
{
    /// <summary>Slices and chunks are whole cache lines of the result.</summary>
    private const int LineElements = 16;

    private readonly TreeFinisher _finisher = new();
    private readonly int[] _bounds = new int[degree + 1];
    private nint[] _pieces = [];

    /// <summary>result[i] ← the tree over all ranks' pieces.</summary>
    /// <param name="operation">The operation the rounds belong to.</param>
    /// <param name="schedule">Pieces of each rank and the order of merges.</param>
    /// <param name="mine">This rank's pieces, one after the other, <paramref name="elements"/> floats each; may be null where it has none.</param>
    /// <param name="elements">Floats of one piece and of the result.</param>
    /// <param name="result">Where the sum goes; may be <paramref name="mine"/> where that is one piece.</param>
    public void Run<TMerge>(OperationContext operation, SumSchedule schedule, float* mine, long elements, float* result)
        where TMerge : struct, IMerge
    {
        if (_pieces.Length < schedule.Pieces)
            _pieces = new nint[schedule.Pieces];
        bool twoShot = degree > 1 && elements * schedule.Pieces * sizeof(float) >= exchange.TwoShotBytes;
        int chunk = exchange.BlockBytes / sizeof(float) / schedule.MostPieces / LineElements * LineElements;

        // At least one round, even for nothing: ranks in another operation must be found.
        long first = 0;
        do
        {
            int count = (int)Math.Min(chunk, elements - first);
            if (twoShot)
            {
                AddMySlice<TMerge>(operation, schedule, mine + first, elements, count, result + first);
                ShareSlices(operation, count, result + first);
            }
            else
            {
                AddAll<TMerge>(operation, schedule, mine + first, elements, count, result + first);
            }
            first += count;
        } while (first < elements);
    }

    private void AddAll<TMerge>(OperationContext operation, SumSchedule schedule, float* mine, long stride, int count, float* result)
        where TMerge : struct, IMerge
    {
        int myPieces = schedule.PiecesOfRank[rank], myFirst = schedule.FirstPieceOfRank[rank];
        float* block = (float*)exchange.Open(operation);
        for (int piece = 0; piece < myPieces; piece++)
        {
            Copy(mine + piece * stride, block + (long)piece * count, count);
            _pieces[myFirst + piece] = (nint)(mine + piece * stride);
        }
        exchange.Publish(operation, myPieces * count * sizeof(float));

        for (int peer = 0; peer < degree; peer++)
        {
            if (peer == rank)
                continue;
            int pieces = schedule.PiecesOfRank[peer];
            float* theirs = (float*)exchange.Await(operation, peer, 0, pieces * count * sizeof(float));
            for (int piece = 0; piece < pieces; piece++)
                _pieces[schedule.FirstPieceOfRank[peer] + piece] = (nint)(theirs + (long)piece * count);
        }
        _finisher.Finish<TMerge>(schedule, _pieces.AsSpan(0, schedule.Pieces), result, count);
        exchange.Close();
    }

    private void AddMySlice<TMerge>(OperationContext operation, SumSchedule schedule, float* mine, long stride, int count, float* result)
        where TMerge : struct, IMerge
    {
        int myPieces = schedule.PiecesOfRank[rank], myFirst = schedule.FirstPieceOfRank[rank];
        int sliceStart = SliceStart(rank, count), sliceCount = SliceStart(rank + 1, count) - sliceStart;

        // 1. The block holds, for each peer in turn, that peer's slice of each of my pieces.
        float* block = (float*)exchange.Open(operation);
        int filled = 0;
        for (int peer = 0; peer < degree; peer++)
        {
            _bounds[peer] = filled * sizeof(float);
            if (peer == rank)
                continue;
            int start = SliceStart(peer, count), length = SliceStart(peer + 1, count) - start;
            for (int piece = 0; piece < myPieces; piece++, filled += length)
                Copy(mine + piece * stride + start, block + filled, length);
        }
        _bounds[degree] = filled * sizeof(float);
        exchange.PublishParts(operation, _bounds);

        // 2. Every rank's pieces of my slice. A peer's block skips that peer's own slice.
        for (int piece = 0; piece < myPieces; piece++)
            _pieces[myFirst + piece] = (nint)(mine + piece * stride + sliceStart);
        for (int peer = 0; peer < degree; peer++)
        {
            if (peer == rank)
                continue;
            int pieces = schedule.PiecesOfRank[peer];
            int before = peer < rank ? sliceStart - (SliceStart(peer + 1, count) - SliceStart(peer, count)) : sliceStart;
            float* theirs = (float*)exchange.Await(operation, peer, pieces * before * sizeof(float), pieces * sliceCount * sizeof(float));
            for (int piece = 0; piece < pieces; piece++)
                _pieces[schedule.FirstPieceOfRank[peer] + piece] = (nint)(theirs + (long)piece * sliceCount);
        }
        _finisher.Finish<TMerge>(schedule, _pieces.AsSpan(0, schedule.Pieces), result + sliceStart, sliceCount);
        exchange.Close();
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
