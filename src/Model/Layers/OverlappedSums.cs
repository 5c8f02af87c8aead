using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Layers;

/// <summary>The sums of a row-parallel product that is computed in blocks of rows: a block's sum travels while the next block is computed.</summary>
/// <remarks>
/// Two sums are under way at most; rows go to the consumer on the rank's thread, ascending, as their sum has ended. Rows are independent, so blocks change no bit.
/// Use      for each block Begin, compute into the pieces, Send; then End. No other collective in between.
/// </remarks>
internal sealed class OverlappedSums(Tensor output, LeafShare share, bool hasPieces, ISumConsumer consumer, ITensorBackend ops, ICommunicator comm)
{
    private const int MostUnderWay = 2;

    private readonly Queue<(int First, int Rows)> _underWay = new();
    private int _begun;

    /// <summary>Room for the pieces of the next rows, unsummed between maximal subtrees.</summary>
    public Tensor Begin(int rows) => ops.Rent(hasPieces ? share.Pieces * rows : 0, output.Columns);

    /// <summary>The pieces of so many rows are computed: their sum begins.</summary>
    public void Send(Tensor pieces, int rows)
    {
        while (_underWay.Count >= MostUnderWay)
            Take();
        comm.BeginSum(pieces, share, output.RowSlice(_begun, rows));
        _underWay.Enqueue((_begun, rows));
        _begun += rows;
    }

    /// <summary>Waits for the sums under way; the consumer has had all rows then.</summary>
    public void End()
    {
        while (_underWay.Count > 0)
            Take();
    }

    private void Take()
    {
        (int first, int rows) = _underWay.Dequeue();
        comm.EndSum();
        consumer.Take(output.RowSlice(first, rows), first);
    }
}
