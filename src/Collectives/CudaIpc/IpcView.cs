using ILGPU;
using static TpServe.Collectives.CudaIpc.IpcLayout;
using static TpServe.Kernels.Cuda.Intrinsics.SystemMemory;

namespace TpServe.Collectives.CudaIpc;

/// <summary>The group as a kernel sees it: addresses, and the limits of waiting.</summary>
internal struct IpcView
{
    /// <summary>Address of the segments' addresses, by rank.</summary>
    public long Table;

    /// <summary>Address of this rank's own memory.</summary>
    public long State;

    /// <summary>Address of the words shared with this rank's host.</summary>
    public long Host;

    /// <summary>Offset of the data in every segment.</summary>
    public long DataAt;

    /// <summary>How long a wait may take.</summary>
    public long TimeoutNanoseconds;

    /// <summary>This rank.</summary>
    public int Rank;

    /// <summary>Ranks.</summary>
    public int Degree;

    /// <summary>Words of one half of a channel; a multiple of 4.</summary>
    public int HalfWords;

    /// <summary><see cref="CollectiveOperation"/>, for the record.</summary>
    public int Operation;

    /// <summary>What every rank must announce in this operation.</summary>
    public int Signature;
}

/// <summary>A round of a channel, on the device; <see cref="IpcLayout"/> has the protocol.</summary>
internal static class IpcDevice
{
    /// <summary>Polls between two looks at the abort word and the clock.</summary>
    private const int PollsPerLook = 16;

    /// <summary>Looks between two reads of the host's word, which lies across the bus.</summary>
    private const int LooksPerHostLook = 16;

    /// <summary>A poll reads memory and takes no less; so the count ends a wait only where the clock stands still.</summary>
    private const int LeastNanosecondsPerPoll = 16;

    /// <summary>Address of a rank's segment.</summary>
    public static long Segment(IpcView view, int rank) => LoadLong(view.Table + rank * sizeof(long));

    /// <summary>Address of a channel's half in a rank's segment.</summary>
    public static long Half(IpcView view, int rank, int channel, int round) =>
        Segment(view, rank) + view.DataAt + (channel * 2L + (round & 1)) * view.HalfWords * sizeof(uint);

    /// <summary>The last round of this group's channel.</summary>
    public static int LastRound(IpcView view) => Load(view.State + RoundsAt + Grid.IdxX * sizeof(int));

    /// <summary>Publishes what the group wrote into its half and waits for every peer. False, for every thread alike, where the epoch is over.</summary>
    /// <param name="view">The group.</param>
    /// <param name="round">The round.</param>
    /// <param name="failed">A word of shared memory that the first thread set to 0 before.</param>
    public static bool Exchange(IpcView view, int round, ArrayView<int> failed)
    {
        Group.Barrier(); // the release below covers what the whole group has written
        int peer = Group.IdxX, slot = FlagsAt + (Grid.IdxX * 2 + (round & 1)) * MostRanks * sizeof(long);
        if (peer < view.Degree && peer != view.Rank)
        {
            long announced = (long)round << 32 | (uint)view.Signature;
            ReleaseLong(Segment(view, peer) + slot + view.Rank * sizeof(long), announced);
            Await(view, Segment(view, view.Rank) + slot + peer * sizeof(long), announced, peer, failed);
        }
        Group.Barrier(); // what the waiting threads acquired holds for the whole group
        return failed[0] == 0;
    }

    /// <summary>Waits for a flag; false where the epoch is over, which then has been told to the host and the peers and, by <paramref name="failed"/>, to the group.</summary>
    /// <remarks>Threads of a warp end differently here, and a branch on the result would be marked as uniform: only a lone thread may use it.</remarks>
    public static bool Await(IpcView view, long flag, long expected, int peer, ArrayView<int> failed)
    {
        long seen = AcquireLong(flag);
        if (seen == expected)
            return true;
        long start = Nanoseconds(), looks = 0, mostLooks = view.TimeoutNanoseconds / (LeastNanosecondsPerPoll * PollsPerLook) + LooksPerHostLook;
        long abort = Segment(view, view.Rank) + AbortAt, waited = 0;
        while (seen >> 32 != expected >> 32)
        {
            for (int poll = 0; poll < PollsPerLook && seen >> 32 != expected >> 32; poll++)
                seen = AcquireLong(flag);
            if (seen >> 32 == expected >> 32)
                break;
            waited = Nanoseconds() - start;
            int said = Acquire(abort), left = Acquire(Segment(view, view.Rank) + LeftAt + peer * sizeof(int));
            if (said != 0 || left != 0)
            {
                // A peer may leave, or end the epoch, right after the flag this wait is for.
                seen = AcquireLong(flag);
                return seen == expected || Record(view, IpcFault.Revoked, peer, said != 0 ? said : left, waited, failed);
            }
            if (looks % LooksPerHostLook == 0 && Acquire(view.Host + RevokeAt) != 0)
                return Fail(view, IpcFault.Revoked, peer, 0, waited, failed);
            if (waited > view.TimeoutNanoseconds || ++looks > mostLooks)
                return Fail(view, IpcFault.Timeout, peer, 0, waited, failed);
        }
        return seen == expected || Fail(view, IpcFault.Mismatch, peer, (int)seen, waited, failed);
    }

    /// <summary>Ends a kernel of one operation: every thread of every group calls it, after its last read of a peer's half.</summary>
    public static void Close(IpcView view, int round, long startedAt)
    {
        Group.Barrier();
        if (Group.IdxX != 0)
            return;
        Store(view.State + RoundsAt + Grid.IdxX * sizeof(int), round);
        if (Grid.IdxX == 0)
        {
            long elapsed = LoadLong(view.State + ElapsedAt) + Nanoseconds() - startedAt;
            StoreLong(view.State + ElapsedAt, elapsed);
            StoreLong(view.Host + HostElapsedAt, elapsed);
        }
        if (FetchAdd(view.State + DoneAt, 1) != Grid.DimX - 1)
            return;
        FetchAdd(view.State + DoneAt, -Grid.DimX); // the last group: the next kernel begins after this one
        StoreLong(view.State + OperationsAt, LoadLong(view.State + OperationsAt) + 1);
    }

    /// <summary>This rank ends the epoch: the host is told and every rank's abort word set. Always false.</summary>
    private static bool Fail(IpcView view, IpcFault fault, int peer, int detail, long waited, ArrayView<int> failed)
    {
        Record(view, fault, peer, detail, waited, failed);
        for (int rank = 0; rank < view.Degree; rank++)
            Release(Segment(view, rank) + AbortAt, Abort(fault, view.Rank, peer));
        return false;
    }

    /// <summary>The first fault of the epoch goes to the host. Always false.</summary>
    private static bool Record(IpcView view, IpcFault fault, int peer, int detail, long waited, ArrayView<int> failed)
    {
        failed[0] = 1;
        if (CompareExchange(view.State + FailedAt, 0, 1) == 0)
        {
            Store(view.Host + OperationAt, view.Operation);
            Store(view.Host + PeerAt, peer);
            Store(view.Host + DetailAt, detail);
            StoreLong(view.Host + SequenceAt, LoadLong(view.State + OperationsAt) + 1);
            StoreLong(view.Host + WaitedAt, waited);
            Release(view.Host + StatusAt, (int)fault);
        }
        return false;
    }
}
