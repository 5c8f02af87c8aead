using System.Diagnostics;
using TpServe.Kernels;

namespace TpServe.Collectives.Ring;

/// <summary>The receiving side of one peer: takes the frame that must come next, straight from the connection into memory that stays.</summary>
/// <remarks>
/// 1. Read as much of head and block as is expected and no more. 2. As soon as the head is whole, compare it. 3. Read the rest.
/// A wait spins for a moment, as a peer that runs will answer soon, then sleeps in slices, between which it looks for the epoch's end and the deadline.
/// Threads  the rank's thread.
/// </remarks>
/// <param name="peer">The peer's place in the exchange.</param>
/// <param name="rank">Its rank, by which the mailbox knows it.</param>
/// <param name="blockBytes">Most bytes of a block.</param>
internal sealed unsafe class RingInlet(int peer, int rank, int blockBytes) : IDisposable
{
    private readonly HostBuffer _memory = new(RingFrame.HeadBytes + blockBytes);

    /// <summary>The peer's block of this round, valid until the next call.</summary>
    public byte* Receive(OperationContext operation, RingMailbox mailbox, long round, int bytes)
    {
        RingWire wire = mailbox.WireOf(operation, peer, rank);
        byte* memory = _memory.Pointer; // alive as long as this object, which is disposed between operations only
        int expected = RingFrame.HeadBytes + Math.Min(bytes, blockBytes), received = 0;
        long since = 0; // when the wait that is under way began
        bool known = false;
        while (received < expected)
        {
            int count = wire.TryReceive(new Span<byte>(memory + received, expected - received), out string fault);
            if (count < 0)
                throw mailbox.Aborted?.ToException(mailbox.Epoch) ?? operation.PeerGone(peer, $"its stream broke: {fault}");
            if (count == 0)
            {
                long now = Stopwatch.GetTimestamp();
                if (since == 0)
                    since = now;
                if (now < since + BriefSpin.Ticks)
                    BriefSpin.Yield(mailbox.Degree);
                else
                    Sleep(operation, mailbox, wire);
                continue;
            }
            if (since != 0)
                operation.NoteWait(since);
            since = 0;
            received += count;
            if (known || received < RingFrame.HeadBytes)
                continue;
            Check(operation, *(RingFrame*)memory, round, bytes);
            known = true;
        }
        return memory + RingFrame.HeadBytes;
    }

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();

    private void Check(OperationContext operation, in RingFrame frame, long round, int bytes)
    {
        if (frame.Mark == RingFrame.Goodbye)
            throw operation.PeerGone(peer, "it left the group");
        if (frame.Mark != RingFrame.Block)
            throw operation.PeerGone(peer, $"its stream broke: {frame.Mark:x8} begins no frame");
        if (frame.Header != operation.Header || frame.Round != round)
            throw operation.Mismatch(peer, frame.Header);
        if (frame.Bytes != bytes)
            throw operation.WrongLength(peer, bytes, frame.Bytes);
    }

    private void Sleep(OperationContext operation, RingMailbox mailbox, RingWire wire)
    {
        if (mailbox.Aborted is { } abort)
            throw abort.ToException(mailbox.Epoch);
        TimeSpan remaining = operation.Remaining;
        if (remaining <= TimeSpan.Zero)
            throw operation.Timeout(peer);
        wire.WaitReadable(RingMailbox.Slice(remaining));
    }
}
