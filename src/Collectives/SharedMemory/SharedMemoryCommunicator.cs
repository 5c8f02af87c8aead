using System.Diagnostics;
using System.Runtime.Versioning;
using TpServe.Collectives.Local;
using static TpServe.Collectives.SharedMemory.SegmentLayout;

namespace TpServe.Collectives.SharedMemory;

/// <summary>A group of processes on one host, through /dev/shm.</summary>
public static unsafe class SharedMemoryCommunicator
{
    /// <summary>Bytes of a block: a prefill's sums in place, 512 rows of 2,048 floats, while all ranks' blocks stay within half of the 64 MB that a container has.</summary>
    internal static int DefaultBlockBytes(int degree) => Math.Min(4 << 20, (16 << 20) / degree / 64 * 64);

    private static readonly TimeSpan s_pollInterval = TimeSpan.FromMilliseconds(1);

    /// <summary>Joins the group, proves the path and measures it. Every rank calls it, at about the same time.</summary>
    /// <param name="prefix">Name of the group's segments, unique for gateway and epoch; hard to guess where other users share the host.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="degree">Ranks of the group.</param>
    /// <param name="timeout">How long each operation waits for the peers.</param>
    /// <param name="epoch">The life of the group.</param>
    /// <param name="patience">How long joining waits for the peers; null = as long as an operation.</param>
    /// <param name="wire">What partial sums are sent as.</param>
    /// <param name="cancellation">Ends joining early.</param>
    /// <remarks>
    /// 1. Rank 0 removes what dead groups have left. Make the own segment. 2. Map every peer's, as it appears. 3. Say so, wait until all have said so. 4. Unlink the own file. 5. Send known data
    /// both ways, and time a small sum. From 4 on there is nothing to clean up, whoever dies.
    /// </remarks>
    /// <exception cref="TransportFailedException">No room, no right, a live group of the same name, or data that arrived different.</exception>
    /// <exception cref="CollectiveTimeoutException">A peer did not come.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static ICommunicator Join(
        string prefix, int rank, int degree, TimeSpan timeout, long epoch, TimeSpan? patience = null, WireFormat wire = WireFormat.Float32, CancellationToken cancellation = default) =>
        Join(prefix, rank, degree, timeout, epoch, DefaultBlockBytes(degree), patience ?? timeout, cancellation, wire: wire);

    /// <summary>As above, with blocks of another size: tests make them small to see many chunks.</summary>
    /// <remarks>With the ranks' names where the group is a part of another one.</remarks>
    internal static GroupCommunicator Join(
        string prefix, int rank, int degree, TimeSpan timeout, long epoch, int blockBytes, TimeSpan patience, CancellationToken cancellation, IReadOnlyList<int>? names = null,
        WireFormat wire = WireFormat.Float32)
    {
        SharedMemorySegments.CheckPrefix(prefix);
        ArgumentOutOfRangeException.ThrowIfLessThan(degree, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, degree);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(timeout, TimeSpan.Zero);
        if (degree == 1)
            return LocalGroup.OfOne(timeout, epoch);
        if (!SharedMemorySegments.IsSupported)
            throw new TransportFailedException("Shared memory needs 64-bit Linux with /dev/shm.");

        Segment[] segments = MapAll(prefix, rank, degree, patience, epoch, blockBytes, cancellation);
        CommunicatorReport joined = new("shm", "all ranks map the same /dev/shm", 0);
        GroupCommunicator communicator = new(new SharedMemoryExchange(segments, rank, blockBytes), rank, degree, timeout, epoch, joined, names, wire);
        return PathProof.Prove(communicator, cancellation);
    }

    [SupportedOSPlatform("linux")]
    private static Segment[] MapAll(string prefix, int rank, int degree, TimeSpan patience, long epoch, int blockBytes, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        if (rank == 0)
            SharedMemorySegments.RemoveStale();
        string path = SharedMemorySegments.PathOf(prefix, rank);
        Segment?[] segments = new Segment?[degree];
        segments[rank] = Segment.Create(path, rank, degree, epoch, blockBytes);
        bool joined = false;
        try
        {
            for (int peer = 0; peer < degree; peer++)
                if (peer != rank)
                    Poll(peer, () => (segments[peer] = Segment.TryOpen(SharedMemorySegments.PathOf(prefix, peer), peer, degree, epoch, blockBytes)) is not null);
            Volatile.Write(ref Word(segments[rank]!, AttachedAt), 1);
            for (int peer = 0; peer < degree; peer++)
                Poll(peer, () => Volatile.Read(ref Word(segments[peer]!, AttachedAt)) != 0);
            joined = true;
            return segments!;
        }
        finally
        {
            // A peer that has not mapped this rank yet cannot have let it come this far in good order; in bad order it must not find the file.
            File.Delete(path);
            if (!joined)
            {
                Volatile.Write(ref Word(segments[rank]!, LeftAt), 1);
                foreach (Segment? segment in segments)
                    segment?.Dispose();
            }
        }

        void Poll(int peer, Func<bool> arrived)
        {
            while (!arrived())
            {
                if (segments[peer] is { } theirs && Volatile.Read(ref Word(theirs, LeftAt)) != 0)
                    throw new TransportFailedException($"Rank {peer} failed to join the group of epoch {epoch}.");
                TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
                if (elapsed >= patience)
                    throw new CollectiveTimeoutException("Join", rank, peer, 0, elapsed);
                cancellation.WaitHandle.WaitOne(s_pollInterval);
                cancellation.ThrowIfCancellationRequested();
            }
        }
    }

    /// <summary>A word of a segment that stays mapped while the reference is used: the callers hold the segment.</summary>
    [SupportedOSPlatform("linux")]
    private static ref int Word(Segment segment, int offset) => ref *(int*)(segment.Address + offset);
}
