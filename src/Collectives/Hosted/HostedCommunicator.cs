using TpServe.Collectives.Local;
using TpServe.Collectives.Ring;
using TpServe.Collectives.SharedMemory;

namespace TpServe.Collectives.Hosted;

/// <summary>A group of processes on several hosts: shared memory inside each, one leader of each over the network.</summary>
public static class HostedCommunicator
{
    /// <summary>Joins the group, proves both paths and measures them together. Every rank calls it, at about the same time, with the same hosts.</summary>
    /// <param name="mailboxes">Where this worker's <see cref="RingDoor"/> delivers.</param>
    /// <param name="addresses">Of every rank's service, by rank, as for <see cref="RingCommunicator"/>.</param>
    /// <param name="hosts">By rank: equal numbers share a /dev/shm. Ranks should be numbered host by host; a host whose ranks are scattered counts as several.</param>
    /// <param name="prefix">Name of the group's segments, as for <see cref="SharedMemoryCommunicator"/>.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="secret">The group's secret.</param>
    /// <param name="timeout">How long each operation waits for the peers.</param>
    /// <param name="epoch">The life of the group; newer than any this worker has been in.</param>
    /// <param name="patience">How long each step of joining waits for the peers; null = as long as an operation.</param>
    /// <param name="wire">What partial sums are sent as between hosts; inside one nothing is rounded.</param>
    /// <param name="cancellation">Ends joining early.</param>
    /// <remarks>1. Open the epoch to revocations. 2. Join the run's group in shared memory. 3. Leaders connect to each other. 4. All time a small sum.</remarks>
    /// <exception cref="TransportFailedException">No room in shared memory, a peer refuses, the epoch is over, or data arrived different.</exception>
    /// <exception cref="CollectiveTimeoutException">A peer did not come.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static ICommunicator Join(
        RingMailboxes mailboxes, IReadOnlyList<string> addresses, IReadOnlyList<int> hosts, string prefix, int rank, string secret, TimeSpan timeout, long epoch,
        TimeSpan? patience = null, WireFormat wire = WireFormat.Float32, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(mailboxes);
        ArgumentNullException.ThrowIfNull(addresses);
        ArgumentNullException.ThrowIfNull(hosts);
        ArgumentNullException.ThrowIfNull(secret);
        ArgumentOutOfRangeException.ThrowIfZero(addresses.Count);
        ArgumentOutOfRangeException.ThrowIfNotEqual(hosts.Count, addresses.Count);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, addresses.Count);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        if (addresses.Count == 1)
            return LocalGroup.Create(1, timeout, epoch)[0];

        HostRuns runs = new(hosts, rank);
        TimeSpan waits = patience ?? timeout;
        RingEpoch life = RingEpoch.Open(mailboxes, addresses, rank, secret, epoch);
        GroupCommunicator? inside = null, across = null;
        try
        {
            if (runs.Ranks > 1)
                inside = SharedMemoryCommunicator.Join(
                    $"{prefix}-{runs.First}", runs.Place, runs.Ranks, timeout, epoch, SharedMemoryCommunicator.DefaultBlockBytes(runs.Ranks), waits, cancellation,
                    [.. Enumerable.Range(runs.First, runs.Ranks)]);
            life.Mailbox.OnAborted(abort => inside?.Abort(abort));
            if (runs.Leads && runs.Leaders.Length > 1)
            {
                life.Connect(runs.Leaders, waits, cancellation);
                across = new GroupCommunicator(
                    new RingExchange(life, runs.Leaders, RingExchange.DefaultBlockBytes, hosts), runs.Mine, runs.Leaders.Length, timeout, epoch,
                    new CommunicatorReport("ring", "the leaders reach each other over sockets", 0), runs.Leaders, wire);
                across = PathProof.Prove(across, cancellation);
            }
        }
        catch (Exception fault)
        {
            life.Abort(AbortKind.Revoked, $"rank {rank} could not join: {fault.Message}"); // which its own host hears of too
            across?.Dispose();
            inside?.Dispose();
            life.Dispose();
            throw;
        }

        HostedGroup group = new(life, runs, inside, across, rank, timeout, epoch, wire);
        using CancellationTokenRegistration ending = cancellation.Register(() => group.Revoke("joining was cancelled"));
        try
        {
            group.Report = PathProof.Timed(group);
            return group;
        }
        catch
        {
            group.Dispose();
            cancellation.ThrowIfCancellationRequested();
            throw;
        }
    }
}
