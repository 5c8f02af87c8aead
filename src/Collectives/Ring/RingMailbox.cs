using System.Diagnostics;
using TpServe.Protos.Ring;

namespace TpServe.Collectives.Ring;

// The protocol. Rounds are numbered 1, 2, 3, … alike on every rank; a rank sends each peer that reads its block one message a round.
//
// Who writes   The gRPC call that carries peer r's stream appends to queue r, and to no other; a second stream of the same peer is refused.
// Who reads    The rank's thread takes from the queues, in the order its operations need.
// Publishes    The lock on the gate orders everything: messages, departures and the abort are written and read under it, and every change pulses it.
// Counters     Rounds are 64 bits and do not wrap. A message must be of exactly the round, the operation and the length that its taker is in.
// Bounds       A queue holds QueueBlocks messages. When it is full the call stops reading, HTTP/2 flow control stops the peer, and the peer waits in its
//              next round, within its deadline. The rank in the lowest round always finds its peers' messages of that round in order at the head of its
//              queues, or they are being sent, so full queues cannot wait for each other in a circle.
// Peer death   A stream that breaks marks the peer lost, which whoever waits for it learns at once; a host that falls silent is found by the deadline
//              of the operation. Messages that arrived before either are still taken.

/// <summary>Where the blocks of one epoch arrive for one rank: a bounded queue for each peer.</summary>
/// <remarks>Threads  any number of calls deliver; one thread takes.</remarks>
public sealed class RingMailbox : IDisposable
{
    /// <summary>Blocks a peer can be ahead: the two of the contract, and two on the wire.</summary>
    private const int QueueBlocks = 4;

    /// <summary>How long streams stay open after the rank has left, so that peers that are about to leave too can end them in good order.</summary>
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(2);

    private readonly object _gate = new();
    private readonly Sender[] _senders;
    private readonly CancellationTokenSource _revoked = new();
    private readonly CancellationTokenSource _ended = new();
    private GroupAbort? _abort;
    private bool _disposed;

    internal RingMailbox(long epoch, int rank, int degree)
    {
        Epoch = epoch;
        Rank = rank;
        Degree = degree;
        Revoked = _revoked.Token;
        Ended = _ended.Token;
        _senders = new Sender[degree];
        for (int peer = 0; peer < degree; peer++)
            _senders[peer] = new Sender();
    }

    /// <summary>The life of the group whose messages it takes.</summary>
    public long Epoch { get; }

    /// <summary>Whose mailbox it is.</summary>
    public int Rank { get; }

    /// <summary>Ranks of the group.</summary>
    public int Degree { get; }

    /// <summary>How the epoch ended, if it has.</summary>
    internal GroupAbort? Aborted
    {
        get
        {
            lock (_gate)
                return _abort;
        }
    }

    /// <summary>Cancelled when the epoch is over for this rank: wakes a rank that waits for a message to leave.</summary>
    internal CancellationToken Revoked { get; }

    /// <summary>Cancelled some time after the rank has left: streams that are still open end.</summary>
    internal CancellationToken Ended { get; }

    /// <summary>Lets a peer's stream in; each peer has one.</summary>
    /// <returns>Null, or why not.</returns>
    internal string? TryAttach(int peer)
    {
        lock (_gate)
        {
            if (peer < 0 || peer >= Degree || peer == Rank)
                return $"rank {peer} is no peer of rank {Rank} of {Degree}";
            if (_disposed)
                return $"rank {Rank} has left epoch {Epoch}";
            if (_senders[peer].Attached)
                return $"rank {peer} has a stream already";
            _senders[peer].Attached = true;
            return null;
        }
    }

    /// <summary>Appends a peer's block; waits while the queue is full.</summary>
    internal async Task DeliverAsync(int peer, RingBlock block, CancellationToken cancellation)
    {
        Sender sender = _senders[peer];
        await sender.Room.WaitAsync(cancellation);
        lock (_gate)
        {
            if (_disposed)
            {
                sender.Room.Release(); // nobody will take it: what is left of the stream is read and dropped until the peer ends it
                return;
            }
            sender.Blocks.Enqueue(block);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>The peer's stream has ended: in good order where <paramref name="fault"/> is null.</summary>
    internal void Detach(int peer, string? fault)
    {
        lock (_gate)
        {
            _senders[peer].Departure = fault is null ? "it left the group" : $"its stream broke: {fault}";
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Ends the epoch for this rank; false where it had ended before.</summary>
    internal bool Abort(AbortKind kind, string reason)
    {
        lock (_gate)
        {
            if (_abort is not null || _disposed)
                return false;
            _abort = new GroupAbort(kind, reason);
            Monitor.PulseAll(_gate);
        }
        _revoked.Cancel();
        return true;
    }

    /// <summary>The next block of a peer; waits for it as long as the operation allows.</summary>
    internal RingBlock Take(OperationContext operation, int peer)
    {
        Sender sender = _senders[peer];
        RingBlock? block;
        lock (_gate)
        {
            while (!sender.Blocks.TryDequeue(out block))
            {
                if (_abort is { } abort)
                    throw abort.ToException(Epoch);
                if (sender.Departure is { } departure)
                    throw operation.PeerGone(peer, departure);
                TimeSpan remaining = operation.Remaining;
                if (remaining <= TimeSpan.Zero)
                    throw operation.Timeout(peer);
                long since = Stopwatch.GetTimestamp();
                Monitor.Wait(_gate, remaining + TimeSpan.FromMilliseconds(1)); // Wait counts whole milliseconds, rounded down
                operation.NoteWait(since);
            }
        }
        sender.Room.Release();
        return block;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            foreach (Sender sender in _senders)
                while (sender.Blocks.TryDequeue(out _))
                    sender.Room.Release(); // a full queue holds its call in DeliverAsync, which must see that the rank has left
            Monitor.PulseAll(_gate);
        }
        // The sources are left to the collector: calls may still hold their tokens.
        _ended.CancelAfter(s_grace);
    }

    private sealed class Sender
    {
        public Queue<RingBlock> Blocks { get; } = new(QueueBlocks);

        public SemaphoreSlim Room { get; } = new(QueueBlocks);

        public bool Attached { get; set; }

        public string? Departure { get; set; }
    }
}
