using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Versioning;
using System.Text;
using TpServe.Kernels;
using static TpServe.Collectives.SharedMemory.SegmentLayout;

namespace TpServe.Collectives.SharedMemory;

// The protocol. Rounds are numbered 1, 2, 3, … alike on every rank; round k uses slot k mod 2 of each rank's segment.
//
// Who writes   A rank writes only its own segment: slot, published, closed, waiting, left, reason. Others write two words of it: its doorbell (atomic
//              increment) and, in rank 0's segment, the abort word (compare-and-swap from 0, once in the life of the group).
// Who reads    Every rank maps and reads every segment.
// Publishes    The owner fills the slot, then stores published = k with release; a reader loads it with acquire and sees the slot as it was filled.
//              A reader that is done stores closed = k with release; the owner refills slot k mod 2 in round k + 2 only after it has loaded
//              closed ≥ k of every peer with acquire. As a rank closes k before it publishes k + 1, published ≥ k + 1 tells the same.
// Sleeping     A rank that has spun long enough sets waiting = 1, reads its doorbell, passes a full fence, looks once more at what it waits for, and
//              sleeps while the doorbell has the value read. Whoever changes a counter passes a full fence after it and rings every peer whose waiting
//              is 1: increments the doorbell, wakes. Of the two fences one is first: the sleeper sees the change or the changer sees waiting = 1.
// Counters     32 bits, compared by the sign of their difference; ranks are never more than two rounds apart, so wrapping at 2³¹ is harmless. The
//              doorbell is only compared for equality, and 2³² rings do not fit between a read and the sleep.
// Peer death   A dead rank's segment stays mapped and stands still. Its peers give up at the operation's deadline, or earlier where somebody who knows
//              revokes; each sleep is bounded besides. A rank that leaves in good order sets left, after its last publishing. Nothing holds a lock
//              in shared memory, so no death leaves one held. Files are unlinked before the first operation: the kernel frees the memory with the
//              last process.

/// <summary>Blocks through memory that all ranks have mapped: one store to publish, one load to see it.</summary>
/// <remarks>Threads  the rank's thread; <see cref="Abort"/> from any.</remarks>
[SupportedOSPlatform("linux")]
internal sealed unsafe class SharedMemoryExchange : IExchange
{
    /// <summary>No sleep is longer: what bounds the harm of a waker that dies between its store and its wake.</summary>
    private static readonly TimeSpan s_longestSleep = TimeSpan.FromMilliseconds(100);

    private readonly Lock _life = new();
    private readonly Segment[] _segments;
    private readonly int[] _seenClosed;
    private readonly byte* _mine;
    private readonly int _rank;
    private int _round;
    private readonly HostBuffer[] _blocks;
    private bool _disposed;
    private bool _windowIsOut;

    /// <summary>Takes the mapped segments over, by rank. Rounds go on from where the counters stand, which is the same in all of them.</summary>
    public SharedMemoryExchange(Segment[] segments, int rank, int blockBytes)
    {
        _segments = segments;
        _seenClosed = new int[segments.Length];
        _rank = rank;
        _mine = segments[rank].Address;
        BlockBytes = blockBytes;
        _blocks = [Block(0), Block(1)];
        _round = *(int*)(_mine + PublishedAt);
        Array.Fill(_seenClosed, _round);
    }

    /// <inheritdoc/>
    public int BlockBytes { get; }

    /// <summary>Measured on sums of 4 MB between 2 ranks: 128 KiB at a time 380 µs, 256 KiB 350, 512 KiB 310, 1 MiB no better.</summary>
    public int CopyBytes => Math.Min(BlockBytes, 512 << 10);

    /// <inheritdoc/>
    public bool ReadsInPlace => true;

    /// <summary>Measured with 2 ranks on 2 cores: 0.6 MB of pieces take 26 µs two-shot and 28 one-shot, 8 MB 310 and 320; more ranks gain more, for each adds less.</summary>
    public long TwoShotBytes => 512 << 10;

    /// <inheritdoc/>
    public GroupAbort? Aborted
    {
        get
        {
            int word = Volatile.Read(ref *(int*)(_segments[0].Address + AbortAt));
            return word == 0 ? null : ReadAbort(word);
        }
    }

    /// <inheritdoc/>
    public byte* Open(OperationContext operation)
    {
        _round++;
        _windowIsOut = false;
        for (int peer = 0; peer < _segments.Length; peer++)
        {
            if (peer == _rank || _seenClosed[peer] - (_round - 2) >= 0)
                continue;
            WaitFor(operation, peer, ClosedAt, _round - 2);
            _seenClosed[peer] = _round - 2;
        }
        return MySlot + SlotHeaderBytes;
    }

    /// <inheritdoc/>
    public HostBuffer? TryWindow(long bytes)
    {
        if (bytes > BlockBytes)
            return null;
        int next = _round + 1;
        for (int peer = 0; peer < _segments.Length; peer++)
            if (peer != _rank && _seenClosed[peer] - (next - 2) < 0 && Volatile.Read(ref *(int*)(_segments[peer].Address + ClosedAt)) - (next - 2) < 0)
                return null;
        _windowIsOut = true;
        return _blocks[next & 1];
    }

    /// <summary>What the peers may read of this rank's blocks.</summary>
    public Traffic Sent { get; private set; }

    /// <inheritdoc/>
    public void Publish(OperationContext operation, int bytes)
    {
        Sent = Sent.With((long)bytes * (_segments.Length - 1), 0);
        Announce(operation, bytes);
    }

    private void Announce(OperationContext operation, int bytes)
    {
        *(OperationHeader*)MySlot = operation.Header;
        *(int*)(MySlot + SlotLengthAt) = bytes;
        Advance(PublishedAt);
    }

    /// <inheritdoc/>
    public void PublishTo(OperationContext operation, int reader, int bytes)
    {
        Sent = Sent.With(reader == _rank ? 0 : bytes, 0);
        Announce(operation, bytes);
    }

    /// <inheritdoc/>
    public void PublishParts(OperationContext operation, ReadOnlySpan<int> bounds)
    {
        Sent = Sent.With(bounds[^1], 0);
        Announce(operation, bounds[^1]);
    }

    /// <inheritdoc/>
    public byte* Await(OperationContext operation, int peer, int first, int bytes)
    {
        WaitFor(operation, peer, PublishedAt, _round);
        _seenClosed[peer] = _round - 1;

        // The slot is the peer's until this rank closes the round; lengths are checked, for a peer may be another build or broken.
        byte* slot = _segments[peer].Address + SlotAt(_round & 1, BlockBytes);
        ref readonly OperationHeader theirs = ref *(OperationHeader*)slot;
        if (theirs != operation.Header)
            throw operation.Mismatch(peer, theirs);
        int length = *(int*)(slot + SlotLengthAt);
        if (length > BlockBytes || (uint)length < (long)first + bytes)
            throw operation.WrongLength(peer, (long)first + bytes, length);
        return slot + SlotHeaderBytes + first;
    }

    /// <inheritdoc/>
    public void Close() => Advance(ClosedAt);

    /// <inheritdoc/>
    public void Abort(AbortKind kind, string reason)
    {
        lock (_life)
        {
            if (_disposed)
                return;
            ref int word = ref *(int*)(_segments[0].Address + AbortAt);
            if (Volatile.Read(ref word) != 0)
                return;

            // The reason is complete before the word that names this rank as its author; after that nobody writes it.
            Span<byte> text = new(_mine + ReasonAt, ReasonBytes);
            Encoding.UTF8.GetEncoder().Convert(reason, text, flush: true, out _, out int length, out _);
            *(int*)(_mine + ReasonLengthAt) = length;
            if (Interlocked.CompareExchange(ref word, ((_rank + 1) << 8) | (int)kind, 0) != 0)
                return;
            for (int rank = 0; rank < _segments.Length; rank++)
                Ring(_segments[rank].Address);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_life)
        {
            if (_disposed)
                return;
            _disposed = true;
            Volatile.Write(ref *(int*)(_mine + LeftAt), 1);
            RingWaiting();
            for (int rank = 0; rank < _segments.Length; rank++)
                if (rank != _rank || !_windowIsOut) // a rank may be computing in its block: then the last reference frees it
                    _segments[rank].Dispose();
        }
    }

    private HostBuffer Block(int slot) => new(_mine + SlotAt(slot, BlockBytes) + SlotHeaderBytes, BlockBytes, _segments[_rank]);

    private byte* MySlot => _mine + SlotAt(_round & 1, BlockBytes);

    /// <summary>Stores this round in one of this rank's counters and wakes who sleeps.</summary>
    private void Advance(int counterAt)
    {
        Volatile.Write(ref *(int*)(_mine + counterAt), _round);
        RingWaiting();
    }

    private void RingWaiting()
    {
        Interlocked.MemoryBarrier(); // the changer's fence of "Sleeping"
        for (int peer = 0; peer < _segments.Length; peer++)
            if (peer != _rank && Volatile.Read(ref *(int*)(_segments[peer].Address + WaitingAt)) != 0)
                Ring(_segments[peer].Address);
    }

    private static void Ring(byte* segment)
    {
        Interlocked.Increment(ref *(int*)(segment + DoorbellAt));
        Futex.WakeAll((int*)(segment + DoorbellAt));
    }

    /// <summary>Returns when a counter of the peer has reached the round; spins first, then sleeps.</summary>
    private void WaitFor(OperationContext operation, int peer, int counterAt, int round)
    {
        ref int counter = ref *(int*)(_segments[peer].Address + counterAt);
        if (Volatile.Read(ref counter) - round >= 0)
            return;
        long since = Stopwatch.GetTimestamp();
        if (!SpinFor(ref counter, round, since, _segments.Length))
            SleepFor(operation, peer, counterAt, round, ref counter);
        operation.NoteWait(since);
    }

    private void SleepFor(OperationContext operation, int peer, int counterAt, int round, ref int counter)
    {
        ref int waiting = ref *(int*)(_mine + WaitingAt);
        Volatile.Write(ref waiting, 1);
        try
        {
            while (true)
            {
                int bell = Volatile.Read(ref *(int*)(_mine + DoorbellAt));
                Interlocked.MemoryBarrier(); // the sleeper's fence of "Sleeping"
                bool left = Volatile.Read(ref *(int*)(_segments[peer].Address + LeftAt)) != 0; // before the counter, for it is written after it
                if (Volatile.Read(ref counter) - round >= 0)
                    return;
                if (Aborted is { } abort)
                    throw abort.ToException(operation.Header.Epoch);
                if (left && counterAt == ClosedAt)
                    return; // it will read nothing any more
                if (left)
                    throw operation.PeerGone(peer, "it left the group");
                TimeSpan remaining = operation.Remaining;
                if (remaining <= TimeSpan.Zero)
                    throw operation.Timeout(peer);
                Futex.Wait((int*)(_mine + DoorbellAt), bell, remaining < s_longestSleep ? remaining : s_longestSleep);
            }
        }
        finally
        {
            Volatile.Write(ref waiting, 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool SpinFor(ref int counter, int round, long since, int ranks)
    {
        long until = since + BriefSpin.Ticks;
        do
        {
            for (int i = 0; i < 16; i++)
            {
                Thread.SpinWait(1);
                if (Volatile.Read(ref counter) - round >= 0)
                    return true;
            }
            BriefSpin.Yield(ranks);
        } while (Stopwatch.GetTimestamp() < until);
        return false;
    }

    private GroupAbort ReadAbort(int word)
    {
        int author = (word >> 8) - 1;
        if (author < 0 || author >= _segments.Length)
            return new GroupAbort(AbortKind.Revoked, $"the abort word is {word:x}, which names no rank");
        byte* segment = _segments[author].Address;
        int length = Math.Clamp(*(int*)(segment + ReasonLengthAt), 0, ReasonBytes);
        return new GroupAbort((AbortKind)(word & 0xFF), Encoding.UTF8.GetString(segment + ReasonAt, length));
    }
}
