using System.Runtime.CompilerServices;

namespace TpServe.Collectives;

/// <summary>A sum whose pieces are rounded to be sent: every rank adds what everyone was sent, its own pieces as they were sent too.</summary>
/// <remarks>
/// 1. Each rank rounds its pieces into its block, row by row. 2. Every rank decodes all pieces, its own from its own block. 3. It adds them in float32 in the order
/// of the canonical tree. One round a chunk: with a second one a sum would be rounded twice, or its slices sent in full.
/// Numerics every rank ends with the same bits. They depend on which partial sums are sent, so on degree, split and hosts; not on rows that are sent together, nor
///          on chunks, which are whole rows or cut where a block of a row ends. Nothing is carried over to a later sum.
/// Cost     (degree − 1) · pieces · n · out elements sent by a rank, of 2 or 1.06 bytes; decoding all pieces takes about as long as adding them.
/// </remarks>
internal sealed unsafe class RoundedSumAlgorithm(IExchange exchange, WireFormat wire, int rank, int degree)
{
    private readonly TreeFinisher _finisher = new();
    private float[] _decoded = [];
    private nint[] _pieces = [];

    /// <summary>result ← the tree over all ranks' rounded pieces, [rows, columns].</summary>
    /// <param name="operation">The operation the rounds belong to.</param>
    /// <param name="schedule">Pieces of each rank and the order of merges.</param>
    /// <param name="mine">This rank's pieces, one after the other, rows × columns floats each; may be null where it has none.</param>
    /// <param name="rows">Rows of one piece and of the result.</param>
    /// <param name="columns">Their columns.</param>
    /// <param name="result">Where the sum goes; may be <paramref name="mine"/> where that is one piece.</param>
    /// <param name="consumer">Takes finished rows; null where nobody does.</param>
    public void Run(OperationContext operation, SumSchedule schedule, float* mine, int rows, int columns, float* result, SumRows? consumer)
    {
        // A chunk is as many whole rows as fit a block, or as many whole blocks of one row.
        int room = exchange.CopyBytes / schedule.MostPieces, ofRow = WireCodec.Bytes(wire, columns);
        int rowsAtOnce = Math.Max(1, ofRow == 0 ? rows : room / ofRow);
        int columnsAtOnce = ofRow <= room ? columns : room / WireCodec.Bytes(wire, WireCodec.BlockColumns) * WireCodec.BlockColumns;
        long stride = (long)rows * columns;

        // At least one round, even for nothing: ranks in another operation must be found.
        int row = 0, column = 0;
        do
        {
            int height = Math.Min(rowsAtOnce, rows - row), width = Math.Min(columnsAtOnce, columns - column);
            long first = (long)row * columns + column;
            AddChunk(operation, schedule, mine + first, stride, height, width, result + first);
            column += width;
            if (column < columns)
                continue;
            (row, column) = (row + height, 0);
            consumer?.Take((long)row * columns);
        } while (row < rows);
    }

    /// <summary>A chunk is one row or whole rows, so that its elements lie side by side.</summary>
    private void AddChunk(OperationContext operation, SumSchedule schedule, float* mine, long stride, int height, int width, float* result)
    {
        int count = height * width, ofRow = WireCodec.Bytes(wire, width), ofPiece = height * ofRow;
        float* decoded = Room(schedule.Pieces, count);

        // 1. This rank's pieces.
        byte* block = exchange.Open(operation);
        for (int piece = 0; piece < schedule.PiecesOfRank[rank]; piece++)
            for (int i = 0; i < height; i++)
                WireCodec.Encode(wire, mine + piece * stride + (long)i * width, width, block + (long)piece * ofPiece + (long)i * ofRow);
        exchange.Publish(operation, schedule.PiecesOfRank[rank] * ofPiece);

        // 2. Everyone's.
        for (int peer = 0; peer < degree; peer++)
        {
            int pieces = schedule.PiecesOfRank[peer];
            byte* theirs = peer == rank ? block : exchange.Await(operation, peer, 0, pieces * ofPiece);
            for (int piece = 0; piece < pieces; piece++)
            {
                int number = schedule.FirstPieceOfRank[peer] + piece;
                float* to = decoded + (long)number * count;
                _pieces[number] = (nint)to;
                for (int i = 0; i < height; i++)
                    WireCodec.Decode(wire, theirs + (long)piece * ofPiece + (long)i * ofRow, width, to + (long)i * width);
            }
        }
        exchange.Close();

        // 3. Their sum.
        _finisher.Finish<AddMerge>(schedule, _pieces.AsSpan(0, schedule.Pieces), result, count);
    }

    /// <summary>Room for all pieces of a chunk; it grows to the largest and then stays. The array is pinned for life, so its address stays valid.</summary>
    private float* Room(int pieces, int count)
    {
        if (_pieces.Length < pieces)
            _pieces = new nint[pieces];
        if (_decoded.Length < (long)pieces * count || _decoded.Length == 0)
            _decoded = GC.AllocateUninitializedArray<float>(Math.Max(1, checked(pieces * count)), pinned: true);
        return (float*)Unsafe.AsPointer(ref _decoded[0]);
    }
}
