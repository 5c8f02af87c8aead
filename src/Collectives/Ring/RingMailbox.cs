using System.Diagnostics;
using System.Security.Cryptography;

namespace TpServe.Collectives.Ring;

// The protocol. Rounds are numbered 1, 2, 3, … alike on every rank; a rank sends each peer that reads its block one frame a round.
//
// Joining      A rank says hello to each peer over gRPC, where the group's secret is asked for, and is given a ticket: random, good once, for this peer and
//              epoch. It opens a second connection to the same address, which begins with a mark and the ticket (RingDoor), and sends its frames there.
// Who writes   The peer that presented the ticket, and nobody else: a second ticket of a peer that has a connection is refused.
// Who reads    The rank's thread reads each connection itself, in the order its operations need: no other thread hands anything over.
// Publishes    A connection keeps the order of its frames. A frame must be of exactly the round, the operation and the length that its reader is in.
// Counters     Rounds are 64 bits and do not wrap.
// Bounds       What a sender is ahead of its reader lies in the two blocks of the sender and in the connection, whose size the system bounds. When that is
//              full the sender waits in its next round but one, within its deadline. The rank in the lowest round always finds its peers' frames of that
//              round at the head of their connections, or on their way, so full connections cannot wait for each other in a circle.
// Peer death   A connection that ends without a goodbye marks the peer lost, which whoever waits for it learns at once; a host that falls silent is found
//              by the deadline of the operation. Frames that arrived before either are still taken.
// Waking       The end of the epoch is a word that waits look at between sleeps of at most LongestSleep.

/// <summary>Where the connections of one epoch arrive for one rank, and how the epoch ended.</summary>
/// <remarks>Threads  any number of calls attach and abort; one thread reads.</remarks>
public sealed class RingMailbox : IDisposable
{
    /// <summary>Bytes of a ticket.</summary>
    internal const int TicketBytes = 32;

    /// <summary>How late a wait may see the end of the epoch.</summary>
    private static readonly TimeSpan s_longestSleep = TimeSpan.FromMilliseconds(10);

    private readonly object _gate = new();
    private readonly Sender[] _senders;
    private GroupAbort? _abort;
    private volatile bool _isAborted;
    private Action<GroupAbort>? _listener;
    private bool _disposed;

    internal RingMailbox(long epoch, int rank, int degree)
    {
        Epoch = epoch;
        Rank = rank;
        Degree = degree;
        _senders = new Sender[degree];
        for (int peer = 0; peer < degree; peer++)
            _senders[peer] = new Sender();
    }

    /// <summary>The life of the group whose connections it takes.</summary>
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
            if (!_isAborted)
                return null;
            lock (_gate)
                return _abort;
        }
    }

    /// <summary>How long a wait sleeps before it looks again.</summary>
    internal static TimeSpan Slice(TimeSpan remaining) =>
        remaining < s_longestSleep ? remaining + TimeSpan.FromMilliseconds(1) : s_longestSleep; // sleeps count whole milliseconds, rounded down

    /// <summary>A ticket for a peer's connection; the one before it, if unused, is void.</summary>
    /// <returns>The ticket, or null and why not.</returns>
    internal byte[]? TryIssue(int peer, out string refusal)
    {
        lock (_gate)
        {
            refusal = peer < 0 || peer >= Degree || peer == Rank ? $"rank {peer} is no peer of rank {Rank} of {Degree}"
                : _disposed ? $"rank {Rank} has left epoch {Epoch}"
                : _senders[peer].Wire is not null ? $"rank {peer} has a stream already"
                : "";
            return refusal.Length > 0 ? null : (_senders[peer].Ticket = RandomNumberGenerator.GetBytes(TicketBytes));
        }
    }

    /// <summary>Takes over the connection of the peer that was given the ticket, and answers it; false where nobody was, or the ticket is used or void.</summary>
    internal bool TryAttach(ReadOnlySpan<byte> ticket, RingWire wire)
    {
        lock (_gate)
        {
            if (_disposed)
                return false;
            foreach (Sender sender in _senders)
            {
                if (sender.Ticket is null || !CryptographicOperations.FixedTimeEquals(sender.Ticket, ticket))
                    continue;
                sender.Ticket = null;
                if (wire.TrySend([RingDoor.Welcome], out _) != 1)
                    return false; // broken already: the peer asks for another ticket
                sender.Wire = wire;
                Monitor.PulseAll(_gate);
                return true;
            }
            return false;
        }
    }

    /// <summary>Ends the epoch for this rank; false where it had ended before.</summary>
    internal bool Abort(AbortKind kind, string reason)
    {
        Action<GroupAbort>? listener;
        GroupAbort abort = new(kind, reason);
        lock (_gate)
        {
            if (_abort is not null || _disposed)
                return false;
            _abort = abort;
            _isAborted = true;
            listener = _listener;
            Monitor.PulseAll(_gate);
        }
        listener?.Invoke(abort);
        return true;
    }

    /// <summary>Calls the listener once the epoch ends, on the thread that ends it; at once where it has.</summary>
    internal void OnAborted(Action<GroupAbort> listener)
    {
        lock (_gate)
            _listener = listener;
        if (Aborted is { } abort)
            listener(abort);
    }

    /// <summary>The connection of a rank, which is <paramref name="peer"/> in the operation; waits for it as long as that allows.</summary>
    internal RingWire WireOf(OperationContext operation, int peer, int rank)
    {
        Sender sender = _senders[rank];
        if (Volatile.Read(ref sender.Wire) is { } there)
            return there;
        lock (_gate)
        {
            while (sender.Wire is null)
            {
                if (_abort is { } abort)
                    throw abort.ToException(Epoch);
                TimeSpan remaining = operation.Remaining;
                if (remaining <= TimeSpan.Zero)
                    throw operation.Timeout(peer);
                long since = Stopwatch.GetTimestamp();
                Monitor.Wait(_gate, remaining + TimeSpan.FromMilliseconds(1)); // Wait counts whole milliseconds, rounded down
                operation.NoteWait(since);
            }
            return sender.Wire;
        }
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
                sender.Wire?.Dispose();
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>What is known of one peer; written under the lock.</summary>
    private sealed class Sender
    {
        public byte[]? Ticket;
        public RingWire? Wire;
    }
}
