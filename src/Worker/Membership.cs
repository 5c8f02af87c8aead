using TpServe.Collectives;

namespace TpServe.Worker;

/// <summary>A rank's part in one epoch, from the first the gateway says of it to its end: what a revocation reaches, wherever the rank is by then.</summary>
/// <remarks>Threads   any. Nothing is called under the lock: what a revocation wakes may take locks of its own.</remarks>
internal sealed class Membership
{
    private readonly Lock _gate = new();
    private readonly List<Action<string>> _revocations = [];
    private string? _reason;

    /// <summary>A part that has not ended.</summary>
    public Membership(long epoch)
    {
        Epoch = epoch;
        CancellationTokenSource over = new(); // without a timer: nothing that the collector does not free
        Over = over.Token;
        _revocations.Add(_ => over.Cancel());
    }

    /// <summary>The life of the group.</summary>
    public long Epoch { get; }

    /// <summary>Cancelled with the epoch: ends joining.</summary>
    public CancellationToken Over { get; }

    /// <summary>Has a revocation, also an earlier one, reach what the rank has entered.</summary>
    public void OnRevoked(Action<string> revocation)
    {
        lock (_gate)
        {
            if (_reason is null)
            {
                _revocations.Add(revocation);
                return;
            }
        }
        revocation(_reason);
    }

    /// <summary>Ends the epoch: every wait of the rank for it ends now. The first reason stands.</summary>
    public void Revoke(string reason)
    {
        lock (_gate)
        {
            if (_reason is not null)
                return;
            _reason = reason;
        }
        foreach (Action<string> revocation in _revocations)
            revocation(reason);
    }

    /// <exception cref="RevokedException">The epoch has ended.</exception>
    public void ThrowIfRevoked()
    {
        lock (_gate)
            if (_reason is not null)
                throw new RevokedException(Epoch, _reason);
    }
}
