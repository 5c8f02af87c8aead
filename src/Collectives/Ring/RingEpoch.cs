using System.Diagnostics;
using TpServe.Protos.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>One rank's life in an epoch as its peers over the network know it: its mailbox, its ways to them, and how each hears of the end.</summary>
/// <remarks>
/// Every rank can tell every other one that the epoch is over, also those with which it exchanges no blocks.
/// Threads  one connects; <see cref="Abort"/> from any, also during or after Dispose.
/// </remarks>
internal sealed class RingEpoch : IDisposable
{
    private static readonly TimeSpan s_leaveTimeout = TimeSpan.FromSeconds(2);

    private readonly Lock _life = new();
    private readonly RingLink?[] _links;
    private Task _revocations = Task.CompletedTask;
    private bool _disposed;

    private RingEpoch(RingMailbox mailbox, RingLink?[] links)
    {
        Mailbox = mailbox;
        _links = links;
    }

    /// <summary>Where the peers' connections arrive.</summary>
    public RingMailbox Mailbox { get; }

    /// <summary>How the epoch ended, if it has.</summary>
    public GroupAbort? Aborted => Mailbox.Aborted;

    /// <summary>Begins a rank's life in the epoch: from here on peers may connect. Nothing is sent.</summary>
    /// <exception cref="TransportFailedException">The epoch is over, or an address is none.</exception>
    public static RingEpoch Open(RingMailboxes mailboxes, IReadOnlyList<string> addresses, int rank, string secret, long epoch)
    {
        RingEpoch opened = new(mailboxes.Open(epoch, rank, addresses.Count), new RingLink?[addresses.Count]);
        try
        {
            for (int peer = 0; peer < addresses.Count; peer++)
                if (peer != rank)
                    opened._links[peer] = new RingLink(peer, addresses[peer], secret, mailboxes.Links);
            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>Opens this rank's connections to some of its peers.</summary>
    /// <exception cref="TransportFailedException">A peer refuses.</exception>
    /// <exception cref="CollectiveTimeoutException">A peer did not come.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public void Connect(IEnumerable<int> peers, TimeSpan patience, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(patience);
        RingLink[] links = [.. peers.Where(peer => peer != Mailbox.Rank).Select(peer => _links[peer]!)];
        Task[] connecting =
        [
            .. links.Select(link => link.ConnectAsync(
                new RingHello { Epoch = Mailbox.Epoch, FromRank = Mailbox.Rank, ToRank = link.Peer, Degree = Mailbox.Degree }, deadline.Token)),
        ];
        try
        {
            Task.WhenAll(connecting).GetAwaiter().GetResult(); // bounded by the token
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            int missing = links[Array.FindIndex(connecting, task => !task.IsCompletedSuccessfully)].Peer;
            throw new CollectiveTimeoutException("Join", Mailbox.Rank, missing, 0, Stopwatch.GetElapsedTime(start));
        }
    }

    /// <summary>The open connection to a peer, which becomes the caller's.</summary>
    public RingWire TakeWire(int peer) => _links[peer]!.TakeWire();

    /// <summary>Ends the epoch here and for every rank that can be reached; the first reason stands.</summary>
    public void Abort(AbortKind kind, string reason)
    {
        lock (_life)
        {
            if (_disposed || !Mailbox.Abort(kind, reason))
                return;
            RingRevocation revocation = new()
            {
                Epoch = Mailbox.Epoch,
                Kind = kind == AbortKind.Mismatch ? RingAbortKind.Mismatch : RingAbortKind.Revoked,
                Reason = reason,
            };
            _revocations = Task.WhenAll(_links.OfType<RingLink>().Select(link => link.RevokeAsync(revocation)));
        }
    }

    /// <summary>Returns when every peer has heard of the revocation, if there is one, or does not listen.</summary>
    public void WaitUntilHeard() => _revocations.Wait(s_leaveTimeout);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_life)
        {
            if (_disposed)
                return;
            _disposed = true;
        }
        WaitUntilHeard();
        Mailbox.Dispose();
        foreach (RingLink? link in _links)
            link?.Dispose();
    }
}
