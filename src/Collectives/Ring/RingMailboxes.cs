using TpServe.Links;

namespace TpServe.Collectives.Ring;

/// <summary>The mailboxes of one worker process: at most one is open, the newest epoch's. What belongs to an older epoch is refused for good.</summary>
/// <remarks>Threads  any.</remarks>
/// <param name="links">What guards the connections that arrive, and those to the peers.</param>
public sealed class RingMailboxes(LinkSecurity links)
{
    /// <summary>Mailboxes of a process whose links stay on this host.</summary>
    public RingMailboxes()
        : this(LinkSecurity.None)
    {
    }

    /// <summary>What guards the connections.</summary>
    internal LinkSecurity Links => links;

    private readonly Lock _gate = new();
    private RingMailbox? _current;
    private long _newest;

    /// <summary>Opens the mailbox of an epoch; one of an older epoch that is still open is revoked.</summary>
    /// <exception cref="TransportFailedException">The epoch is not newer than the last one.</exception>
    public RingMailbox Open(long epoch, int rank, int degree)
    {
        RingMailbox? previous;
        RingMailbox opened = new(epoch, rank, degree);
        lock (_gate)
        {
            if (epoch <= _newest)
                throw new TransportFailedException($"Epoch {epoch} cannot be opened: this worker has been in epoch {_newest}.");
            previous = _current;
            _current = opened;
            _newest = epoch;
        }
        previous?.Abort(AbortKind.Revoked, $"epoch {epoch} has begun");
        return opened;
    }

    /// <summary>The mailbox of an epoch, or null; then <paramref name="isOver"/> tells an epoch that will not come again from one not yet open.</summary>
    internal RingMailbox? Find(long epoch, out bool isOver)
    {
        lock (_gate)
        {
            isOver = epoch < _newest;
            return _current?.Epoch == epoch ? _current : null;
        }
    }

    /// <summary>Takes over a connection for whoever was given the ticket; false where nobody was.</summary>
    internal bool TryAttach(ReadOnlySpan<byte> ticket, RingWire wire)
    {
        RingMailbox? current;
        lock (_gate)
            current = _current;
        return current is not null && current.TryAttach(ticket, wire);
    }
}
