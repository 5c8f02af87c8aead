using System.Diagnostics;
using TpServe.Kernels;
using TpServe.Protos.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>Blocks as frames, to every peer over a connection of its own; the <see cref="RingMailbox"/> describes the protocol.</summary>
/// <remarks>
/// Not a ring in the textbook's sense: pieces travel straight from rank to rank and every rank finishes the tree itself, for a ring's sums depend on the degree.
/// Nothing is copied between a block and the system's calls, and nothing is allocated for an operation.
/// Threads  the rank's thread; <see cref="Abort"/> from any.
/// </remarks>
internal sealed unsafe class RingExchange : IExchange
{
    /// <summary>Bytes of a block.</summary>
    public const int DefaultBlockBytes = 1 << 20;

    private static readonly TimeSpan s_leaveTimeout = TimeSpan.FromSeconds(2);

    private readonly Lock _life = new();
    private readonly RingMailbox _mailbox;
    private readonly RingLink[] _links;
    private readonly RingOutlet[] _outlets;
    private readonly RingInlet[] _inlets;
    private readonly RingPump _pump;
    private readonly HostBuffer[] _blocks;
    private readonly HostBuffer _heads;
    private Task _revocations = Task.CompletedTask;
    private long _round;
    private bool _disposed;

    /// <summary>Takes over the mailbox and the connected links to all peers.</summary>
    public RingExchange(RingMailbox mailbox, RingLink[] links, int blockBytes)
    {
        _mailbox = mailbox;
        _links = links;
        _outlets = [.. links.Select(link => new RingOutlet(link.Peer, link.TakeWire()))];
        _inlets = [.. Enumerable.Range(0, mailbox.Degree).Select(peer => new RingInlet(peer, peer == mailbox.Rank ? 0 : blockBytes))];
        _blocks = [new HostBuffer(RingFrame.HeadBytes + blockBytes), new HostBuffer(RingFrame.HeadBytes + blockBytes)];
        _heads = new HostBuffer((long)RingFrame.HeadBytes * (2 * mailbox.Degree + 1));
        _pump = new RingPump(_outlets, mailbox.Rank);
        BlockBytes = blockBytes;
    }

    /// <inheritdoc/>
    public int BlockBytes { get; }

    /// <summary>Measured with 2 ranks on one host: about 0.1 GB/s either way, so what counts is bytes, of which more than 2 ranks or pieces send fewer two-shot.</summary>
    public long TwoShotBytes => 256 << 10;

    /// <summary>Bytes handed to peers since the exchange began, heads of frames included.</summary>
    public long SentBytes { get; private set; }

    /// <inheritdoc/>
    public GroupAbort? Aborted => _mailbox.Aborted;

    private byte* MyBlock => _blocks[_round & 1].Pointer + RingFrame.HeadBytes; // in front of it lies the head that goes with all of it

    /// <inheritdoc/>
    public byte* Open(OperationContext operation)
    {
        _round++;
        foreach (RingOutlet outlet in _outlets)
            outlet.WaitUntilSent(operation, _round - 2, _mailbox);
        return MyBlock;
    }

    /// <inheritdoc/>
    public void Publish(OperationContext operation, int bytes)
    {
        byte* head = WriteHead(operation, MyBlock - RingFrame.HeadBytes, bytes);
        foreach (RingOutlet outlet in _outlets)
            Post(outlet, head, MyBlock, bytes);
    }

    /// <inheritdoc/>
    public void PublishTo(OperationContext operation, int reader, int bytes)
    {
        byte* head = WriteHead(operation, MyBlock - RingFrame.HeadBytes, bytes);
        foreach (RingOutlet outlet in _outlets)
            if (outlet.Peer == reader)
                Post(outlet, head, MyBlock, bytes);
    }

    /// <inheritdoc/>
    public void PublishParts(OperationContext operation, ReadOnlySpan<int> bounds)
    {
        foreach (RingOutlet outlet in _outlets)
        {
            int first = bounds[outlet.Peer], bytes = bounds[outlet.Peer + 1] - first;
            byte* place = _heads.Pointer + RingFrame.HeadBytes * ((_round & 1) * _mailbox.Degree + outlet.Peer);
            Post(outlet, WriteHead(operation, place, bytes), MyBlock + first, bytes);
        }
    }

    /// <inheritdoc/>
    public byte* Await(OperationContext operation, int peer, int first, int bytes) => _inlets[peer].Receive(operation, _mailbox, _round, bytes);

    /// <summary>Nothing to do: what was received lies in this rank's own memory, and a new round writes it again.</summary>
    public void Close()
    {
    }

    /// <inheritdoc/>
    public void Abort(AbortKind kind, string reason)
    {
        lock (_life)
        {
            if (_disposed || !_mailbox.Abort(kind, reason))
                return;
            RingRevocation revocation = new()
            {
                Epoch = _mailbox.Epoch,
                Kind = kind == AbortKind.Mismatch ? RingAbortKind.Mismatch : RingAbortKind.Revoked,
                Reason = reason,
            };
            _revocations = Task.WhenAll(_links.Select(link => link.RevokeAsync(revocation)));
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
        }

        // Peers hear of a revocation, or of this rank's leaving, before their connections end; one that does not listen is not waited for.
        long start = Stopwatch.GetTimestamp();
        _revocations.Wait(s_leaveTimeout);
        if (Aborted is null)
            SayGoodbye(start);
        _pump.Dispose();
        foreach (RingOutlet outlet in _outlets)
            outlet.Dispose();
        _mailbox.Dispose();
        foreach (RingLink link in _links)
            link.Dispose();
        foreach (HostBuffer block in _blocks)
            block.Dispose();
        _heads.Dispose();
        foreach (RingInlet inlet in _inlets)
            inlet.Dispose();
    }

    private void SayGoodbye(long start)
    {
        byte* head = _heads.Pointer + (long)RingFrame.HeadBytes * 2 * _mailbox.Degree;
        *(RingFrame*)head = new RingFrame(RingFrame.Goodbye, 0, _round, default);
        foreach (RingOutlet outlet in _outlets)
            Post(outlet, head, head + RingFrame.HeadBytes, 0);
        foreach (RingOutlet outlet in _outlets)
            outlet.Drain(s_leaveTimeout - Stopwatch.GetElapsedTime(start));
    }

    private byte* WriteHead(OperationContext operation, byte* head, int bytes)
    {
        *(RingFrame*)head = new RingFrame(RingFrame.Block, bytes, _round, operation.Header);
        return head;
    }

    private void Post(RingOutlet outlet, byte* head, byte* block, int bytes)
    {
        SentBytes += RingFrame.HeadBytes + bytes;
        if (!outlet.Post(_round, head, block, bytes))
            _pump.Wake();
    }
}
