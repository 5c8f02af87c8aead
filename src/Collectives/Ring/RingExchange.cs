using System.Buffers;
using System.Runtime.CompilerServices;
using Google.Protobuf;
using TpServe.Protos.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>Blocks as gRPC messages, to every peer over a stream of its own; what arrives waits in the <see cref="RingMailbox"/>, which describes the protocol.</summary>
/// <remarks>
/// Not a ring in the textbook's sense: pieces travel straight from rank to rank and every rank finishes the tree itself, for a ring's sums depend on the degree.
/// Threads  the rank's thread; <see cref="Abort"/> from any.
/// </remarks>
internal sealed unsafe class RingExchange : IExchange
{
    /// <summary>Well under gRPC's default limit of 4 MiB a message.</summary>
    public const int DefaultBlockBytes = 1 << 20;

    private static readonly TimeSpan s_leaveTimeout = TimeSpan.FromSeconds(2);

    private readonly Lock _life = new();
    private readonly RingMailbox _mailbox;
    private readonly RingLink[] _links;
    private readonly byte[][] _blocks;
    private readonly MemoryHandle[] _received;
    private Task _revocations = Task.CompletedTask;
    private long _round;
    private bool _disposed;

    /// <summary>Takes over the mailbox and the connected links to all peers.</summary>
    public RingExchange(RingMailbox mailbox, RingLink[] links, int blockBytes)
    {
        _mailbox = mailbox;
        _links = links;
        _blocks =
        [
            GC.AllocateUninitializedArray<byte>(blockBytes, pinned: true),
            GC.AllocateUninitializedArray<byte>(blockBytes, pinned: true),
        ];
        _received = new MemoryHandle[mailbox.Degree];
        BlockBytes = blockBytes;
    }

    /// <inheritdoc/>
    public int BlockBytes { get; }

    /// <summary>Measured with 2 ranks on one host: about 0.1 GB/s either way, so what counts is bytes, of which more than 2 ranks or pieces send fewer two-shot.</summary>
    public long TwoShotBytes => 256 << 10;

    /// <inheritdoc/>
    public GroupAbort? Aborted => _mailbox.Aborted;

    private byte[] MyBlock => _blocks[_round & 1];

    /// <inheritdoc/>
    public byte* Open(OperationContext operation)
    {
        _round++;
        foreach (RingLink link in _links)
            UnlessRevoked(operation, () => link.WaitUntilSent(operation, _round - 2, _mailbox.Revoked));
        return (byte*)Unsafe.AsPointer(ref MyBlock[0]); // allocated pinned, and kept by this object
    }

    /// <inheritdoc/>
    public void Publish(OperationContext operation, int bytes)
    {
        RingMessage message = Message(operation, 0, bytes);
        foreach (RingLink link in _links)
            Send(operation, link, message);
    }

    /// <inheritdoc/>
    public void PublishTo(OperationContext operation, int reader, int bytes)
    {
        foreach (RingLink link in _links)
            if (link.Peer == reader)
                Send(operation, link, Message(operation, 0, bytes));
    }

    /// <inheritdoc/>
    public void PublishParts(OperationContext operation, ReadOnlySpan<int> bounds)
    {
        foreach (RingLink link in _links)
            Send(operation, link, Message(operation, bounds[link.Peer], bounds[link.Peer + 1] - bounds[link.Peer]));
    }

    /// <inheritdoc/>
    public byte* Await(OperationContext operation, int peer, int first, int bytes)
    {
        RingBlock block = _mailbox.Take(operation, peer);
        OperationHeader theirs = new(block.Epoch, block.Step, block.Sequence, block.Fingerprint, (CollectiveOperation)block.Operation, block.Rows, block.Columns);
        if (theirs != operation.Header || block.Round != _round)
            throw operation.Mismatch(peer, theirs);
        if (block.Payload.Length != bytes)
            throw operation.WrongLength(peer, bytes, block.Payload.Length);

        // The message owns the bytes; pinned until the round closes, so that the address holds.
        _received[peer] = block.Payload.Memory.Pin();
        return (byte*)_received[peer].Pointer;
    }

    /// <inheritdoc/>
    public void Close()
    {
        foreach (ref MemoryHandle handle in _received.AsSpan())
            handle.Dispose();
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
        Close();
        _mailbox.Dispose();

        // Peers hear of a revocation, and of this rank's leaving, before their streams end; one that does not listen is not waited for.
        Task leaving = Task.WhenAll([_revocations, .. _links.Select(link => link.LeaveAsync())]);
        leaving.Wait(s_leaveTimeout);
        foreach (RingLink link in _links)
            link.Dispose();
    }

    private void Send(OperationContext operation, RingLink link, RingMessage message) =>
        UnlessRevoked(operation, () => link.Send(operation, message, _mailbox.Revoked));

    /// <summary>Waiting for a message to leave ends with the epoch, and then the epoch's end is what the caller must learn.</summary>
    private void UnlessRevoked(OperationContext operation, Action send)
    {
        try
        {
            send();
        }
        catch (Exception fault) when (fault is OperationCanceledException or RevokedException && _mailbox.Aborted is { } abort)
        {
            throw abort.ToException(operation.Header.Epoch);
        }
    }

    private RingMessage Message(OperationContext operation, int first, int bytes)
    {
        ref readonly OperationHeader header = ref operation.Header;
        return new RingMessage
        {
            Block = new RingBlock
            {
                Epoch = header.Epoch,
                Step = header.Step,
                Sequence = header.Sequence,
                Round = _round,
                Operation = (int)header.Operation,
                Rows = header.Rows,
                Columns = header.Columns,
                Fingerprint = header.Fingerprint,
                // Not copied: the block is not written again before WaitUntilSent has seen the message leave.
                Payload = UnsafeByteOperations.UnsafeWrap(MyBlock.AsMemory(first, bytes)),
            },
        };
    }
}
