using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace TpServe.Collectives.Local;

/// <summary>Blocks through the process's own memory, one lock and Monitor.Wait: slow and obvious, to judge the others by.</summary>
internal sealed unsafe class LocalExchange(LocalBoard board, int rank) : IExchange
{
    private readonly LocalBoard.LocalRank _mine = board.Ranks[rank];
    private long _round;

    /// <inheritdoc/>
    public int BlockBytes => board.BlockBytes;

    /// <summary>Low enough that tests of ordinary size take both ways.</summary>
    public long TwoShotBytes => 128 << 10;

    /// <inheritdoc/>
    public GroupAbort? Aborted
    {
        get
        {
            lock (board.Gate)
                return board.Abort;
        }
    }

    /// <inheritdoc/>
    public byte* Open(OperationContext operation)
    {
        _round++;
        lock (board.Gate)
            for (int peer = 0; peer < board.Ranks.Length; peer++)
                while (peer != rank && board.Ranks[peer].Closed < _round - 2 && !board.Ranks[peer].Left)
                    WaitForChange(operation, peer);
        return Address(_mine.Blocks[_round & 1], 0);
    }

    /// <inheritdoc/>
    public Traffic Sent { get; private set; }

    /// <inheritdoc/>
    public void Publish(OperationContext operation, int bytes)
    {
        Sent = Sent.With((long)bytes * (board.Ranks.Length - 1), 0);
        Announce(operation, bytes);
    }

    private void Announce(OperationContext operation, int bytes)
    {
        lock (board.Gate)
        {
            _mine.Headers[_round & 1] = operation.Header;
            _mine.Bytes[_round & 1] = bytes;
            _mine.Published = _round;
            Monitor.PulseAll(board.Gate);
        }
    }

    /// <inheritdoc/>
    public void PublishTo(OperationContext operation, int reader, int bytes)
    {
        Sent = Sent.With(reader == rank ? 0 : bytes, 0);
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
        LocalBoard.LocalRank theirs = board.Ranks[peer];
        lock (board.Gate)
        {
            while (theirs.Published < _round)
            {
                if (theirs.Left && board.Abort is null)
                    throw operation.PeerGone(peer, "it left the group");
                WaitForChange(operation, peer);
            }
            if (theirs.Headers[_round & 1] != operation.Header)
                throw operation.Mismatch(peer, theirs.Headers[_round & 1]);
            if (theirs.Bytes[_round & 1] < first + bytes)
                throw operation.WrongLength(peer, first + bytes, theirs.Bytes[_round & 1]);
        }
        return Address(theirs.Blocks[_round & 1], first);
    }

    /// <inheritdoc/>
    public void Close()
    {
        lock (board.Gate)
        {
            _mine.Closed = _round;
            Monitor.PulseAll(board.Gate);
        }
    }

    /// <inheritdoc/>
    public void Abort(AbortKind kind, string reason)
    {
        lock (board.Gate)
        {
            board.Abort ??= new GroupAbort(kind, reason);
            Monitor.PulseAll(board.Gate);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (board.Gate)
        {
            _mine.Left = true;
            Monitor.PulseAll(board.Gate);
        }
    }

    /// <summary>Under the lock: sleeps until something changes, or throws at the deadline or at the epoch's end.</summary>
    private void WaitForChange(OperationContext operation, int peer)
    {
        if (board.Abort is { } abort)
            throw abort.ToException(operation.Header.Epoch);
        TimeSpan remaining = operation.Remaining;
        if (remaining <= TimeSpan.Zero)
            throw operation.Timeout(peer);
        long since = Stopwatch.GetTimestamp();
        Monitor.Wait(board.Gate, remaining + TimeSpan.FromMilliseconds(1)); // Wait counts whole milliseconds, rounded down
        operation.NoteWait(since);
    }

    /// <summary>The blocks are allocated pinned, so their addresses hold as long as the board is alive, which this object sees to.</summary>
    private static byte* Address(byte[] block, int first) => (byte*)Unsafe.AsPointer(ref block[0]) + first;
}

/// <summary>What the threads of a local group share; everything but the blocks' bytes is guarded by the lock on <see cref="Gate"/>.</summary>
internal sealed class LocalBoard
{
    /// <summary>A board of so many ranks.</summary>
    public LocalBoard(int degree, int blockBytes)
    {
        BlockBytes = blockBytes;
        Ranks = new LocalRank[degree];
        for (int rank = 0; rank < degree; rank++)
            Ranks[rank] = new LocalRank(blockBytes);
    }

    /// <summary>Guards the ranks' counters and headers and <see cref="Abort"/>; pulsed at every change.</summary>
    public object Gate { get; } = new();

    /// <summary>Bytes of a block.</summary>
    public int BlockBytes { get; }

    /// <summary>By rank.</summary>
    public LocalRank[] Ranks { get; }

    /// <summary>How the epoch ended, if it has.</summary>
    public GroupAbort? Abort { get; set; }

    /// <summary>One rank's part of the board.</summary>
    internal sealed class LocalRank(int blockBytes)
    {
        /// <summary>Two blocks, used in turn; written by the rank before it publishes, read by the others until they close the round.</summary>
        public byte[][] Blocks { get; } =
        [
            GC.AllocateArray<byte>(blockBytes, pinned: true),
            GC.AllocateArray<byte>(blockBytes, pinned: true),
        ];

        /// <summary>What each block announces.</summary>
        public OperationHeader[] Headers { get; } = new OperationHeader[2];

        /// <summary>Bytes published in each block.</summary>
        public int[] Bytes { get; } = new int[2];

        /// <summary>Last round published.</summary>
        public long Published { get; set; }

        /// <summary>Last round closed.</summary>
        public long Closed { get; set; }

        /// <summary>The rank disposed its end.</summary>
        public bool Left { get; set; }
    }
}
