using TpServe.Kernels;

namespace TpServe.Collectives;

/// <summary>What a transport does: in each round every rank publishes one block and reads what it needs of the others'.</summary>
/// <remarks>
/// A round is <see cref="Open"/>, one of the three publishing calls, any <see cref="Await"/>, <see cref="Close"/>; every rank goes through the same rounds.
/// Each rank has two blocks, used in turn: a rank may publish a round while slower peers still read the one before, and waits in
/// <see cref="Open"/> only for those that have not closed the round before that.
/// An operation is one round or several; the algorithms live in <see cref="GroupCommunicator"/>, a transport only moves bytes.
/// Errors   every wait ends at the deadline of the operation (<see cref="CollectiveTimeoutException"/>), with the epoch
/// (<see cref="RevokedException"/>, <see cref="CollectiveMismatchException"/>), or with a peer's block that announces another operation.
/// Threads  the rank's thread; <see cref="Abort"/> may come from any, also during or after Dispose.
/// </remarks>
internal unsafe interface IExchange : IDisposable
{
    /// <summary>Most bytes of one block: a multiple of 64.</summary>
    int BlockBytes { get; }

    /// <summary>Most bytes that are copied into a block at once: fewer where a block is larger than what the caches hold well.</summary>
    int CopyBytes => BlockBytes;

    /// <summary>True where a peer's block is the peer's own memory: nothing travels, and reading all of a block costs no more than reading a part of it.</summary>
    bool ReadsInPlace => false;

    /// <summary>The block of the next round, to compute in; null where it is not so large, or a peer may still read it.</summary>
    /// <remarks>Until the next <see cref="Open"/>, which then returns the same memory. It outlives Dispose as long as the buffer is referenced.</remarks>
    HostBuffer? TryWindow(long bytes) => null;

    /// <summary>Bytes of all ranks' pieces from which a sum is cheaper when each rank adds a slice than when every rank adds all.</summary>
    long TwoShotBytes { get; }

    /// <summary>What this rank has handed to its peers since the exchange began.</summary>
    Traffic Sent { get; }

    /// <summary>The end of the epoch, once anyone has declared it.</summary>
    GroupAbort? Aborted { get; }

    /// <summary>Begins a round and returns where this rank's block is to be written, aligned to 64 bytes.</summary>
    byte* Open(OperationContext operation);

    /// <summary>Hands the first <paramref name="bytes"/> bytes to every peer.</summary>
    void Publish(OperationContext operation, int bytes);

    /// <summary>Hands them to one peer; the others do not read this rank's block in this round.</summary>
    void PublishTo(OperationContext operation, int reader, int bytes);

    /// <summary>Hands each peer r the bytes [bounds[r], bounds[r + 1]).</summary>
    void PublishParts(OperationContext operation, ReadOnlySpan<int> bounds);

    /// <summary>Waits for a peer's block of this round; the address of this rank's part of it, valid until <see cref="Close"/>.</summary>
    /// <param name="operation">What this rank is in; the peer must be in the same.</param>
    /// <param name="peer">Whose block.</param>
    /// <param name="first">Where in the peer's block this rank's part begins; 0 unless it published parts.</param>
    /// <param name="bytes">Bytes of this rank's part.</param>
    byte* Await(OperationContext operation, int peer, int first, int bytes);

    /// <summary>Ends the round: this rank reads nothing of it any more.</summary>
    void Close();

    /// <summary>Ends the epoch for every rank that can be reached; the first reason stands.</summary>
    void Abort(AbortKind kind, string reason);
}
