namespace TpServe.Collectives.Local;

/// <summary>A group whose ranks are threads of one process: for tests, and the plainest form of the contract.</summary>
public static class LocalGroup
{
    /// <summary>Bytes of a block: small, so that tests of ordinary size go through several chunks.</summary>
    private const int BlockBytes = 64 << 10;

    /// <summary>The ends of a new group, by rank; each belongs to the thread that uses it, and each is disposed by its owner.</summary>
    /// <param name="degree">Ranks.</param>
    /// <param name="timeout">How long an operation waits for its peers.</param>
    /// <param name="epoch">The life of the group.</param>
    /// <param name="wire">What partial sums are sent as.</param>
    /// <remarks>Nothing is measured: the report's time is 0.</remarks>
    public static ICommunicator[] Create(int degree, TimeSpan timeout, long epoch, WireFormat wire = WireFormat.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(degree, 1);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        LocalBoard board = new(degree, BlockBytes);
        ICommunicator[] ends = new ICommunicator[degree];
        for (int rank = 0; rank < degree; rank++)
            ends[rank] = End(board, rank, timeout, epoch, wire);
        return ends;
    }

    /// <summary>A group of one, whose operations are the same as any group's.</summary>
    internal static GroupCommunicator OfOne(TimeSpan timeout, long epoch) => End(new LocalBoard(1, BlockBytes), 0, timeout, epoch, WireFormat.Float32);

    private static GroupCommunicator End(LocalBoard board, int rank, TimeSpan timeout, long epoch, WireFormat wire) =>
        new(new LocalExchange(board, rank), rank, board.Ranks.Length, timeout, epoch, new CommunicatorReport("local", "the ranks are threads of one process", 0), wire: wire);
}
