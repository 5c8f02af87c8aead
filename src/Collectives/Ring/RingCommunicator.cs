using TpServe.Collectives.Local;

namespace TpServe.Collectives.Ring;

/// <summary>A group of processes on any hosts, over connections to the peers' own ports: slower than shared memory, and works wherever their addresses do.</summary>
public static class RingCommunicator
{
    /// <summary>Joins the group, proves the path and measures it. Every rank calls it, at about the same time; each serves <see cref="RingService"/> behind a <see cref="RingDoor"/>.</summary>
    /// <param name="mailboxes">Where this worker's <see cref="RingDoor"/> delivers.</param>
    /// <param name="addresses">Of every rank's service, by rank: https://host:port, http://host:port or unix:/path. This rank's own is not used.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="secret">The group's secret, which every service asks for.</param>
    /// <param name="timeout">How long each operation waits for the peers.</param>
    /// <param name="epoch">The life of the group; newer than any this worker has been in.</param>
    /// <param name="hosts">Number of each rank's host, by rank: what goes to another counts as sent across. Null or empty = nobody knows.</param>
    /// <param name="patience">How long joining waits for the peers; null = as long as an operation.</param>
    /// <param name="wire">What partial sums are sent as.</param>
    /// <param name="cancellation">Ends joining early.</param>
    /// <exception cref="TransportFailedException">A peer refuses, the epoch is over, or data arrived different.</exception>
    /// <exception cref="CollectiveTimeoutException">A peer did not come.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static ICommunicator Join(
        RingMailboxes mailboxes, IReadOnlyList<string> addresses, int rank, string secret, TimeSpan timeout, long epoch, IReadOnlyList<int>? hosts = null,
        TimeSpan? patience = null, WireFormat wire = WireFormat.Float32, CancellationToken cancellation = default) =>
        Join(mailboxes, addresses, rank, secret, timeout, epoch, RingExchange.DefaultBlockBytes, patience ?? timeout, cancellation, hosts, wire);

    /// <summary>As above, with blocks of another size: tests make them small to see many chunks.</summary>
    internal static ICommunicator Join(
        RingMailboxes mailboxes, IReadOnlyList<string> addresses, int rank, string secret, TimeSpan timeout, long epoch, int blockBytes, TimeSpan patience,
        CancellationToken cancellation, IReadOnlyList<int>? hosts = null, WireFormat wire = WireFormat.Float32)
    {
        ArgumentNullException.ThrowIfNull(mailboxes);
        ArgumentNullException.ThrowIfNull(addresses);
        ArgumentNullException.ThrowIfNull(secret);
        ArgumentOutOfRangeException.ThrowIfZero(addresses.Count);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, addresses.Count);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        int degree = addresses.Count;
        if (degree == 1)
            return LocalGroup.Create(1, timeout, epoch)[0];

        int[] everyone = [.. Enumerable.Range(0, degree)];
        RingEpoch life = RingEpoch.Open(mailboxes, addresses, rank, secret, epoch);
        try
        {
            life.Connect(everyone, patience, cancellation);
        }
        catch
        {
            life.Dispose();
            throw;
        }
        CommunicatorReport joined = new("ring", $"the ranks reach each other over {(mailboxes.Links.Certificate is null ? "sockets" : "TLS")}", 0);
        GroupCommunicator communicator = new(new RingExchange(life, everyone, blockBytes, hosts ?? []), rank, degree, timeout, epoch, joined, wire: wire);
        return PathProof.Prove(communicator, cancellation);
    }
}
