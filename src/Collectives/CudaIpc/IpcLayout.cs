namespace TpServe.Collectives.CudaIpc;

/// <summary>Where things lie in the memory the ranks share, in a rank's own, and in the words it shares with its host. Offsets in bytes.</summary>
/// <remarks>
/// Protocol. One thread group is a channel; channel c of a rank talks to channel c of every peer and to nothing else, in rounds counted from 1.
/// In a round every rank
///   1. writes its part into its own segment's half (round mod 2) of the channel,
///   2. publishes it: a flag of (round, signature) into every peer's segment, with system-scope release, after a group barrier,
///   3. waits for the flag of every peer in its own segment, with system-scope acquire, and after a group barrier reads the peers' halves.
/// Who writes, who reads: a half and the round counters belong to the segment's rank, peers only read halves; the flag (channel, round mod 2, p) is
/// written by rank p alone and read by the segment's rank; the abort word is written by any rank and by the host of any, and read by the segment's.
/// Ordering: the barrier before the release makes it cover what the whole group wrote; the acquire and the barrier after it carry that to every reader.
/// Reuse: a rank writes half h of round k + 2 only after it saw each peer's flag of round k + 1, which a peer publishes after it read round k.
/// A flag's slot likewise: p writes round k + 2 into it after it saw this rank's flag of k + 1, which follows the reading of k.
/// Wrapping: the round is compared by equality with the one expected. A slot holds the expected round, or the one two before it; so 32 bits may wrap.
/// Recording: rounds live in device memory and a kernel advances them itself, so a replayed graph continues the count.
/// Disagreement: the signature is a hash of operation, shape and who owns what; the same round with another signature is a mismatch, found before any
/// data of the round is read. It does not hold the step, which a recorded kernel could not know; a missed step shows as a missed round.
/// Death: every wait polls in its own segment the abort word and what says that the peer left, and the host's revoke word, and is bounded by a clock and a count. Whoever gives up writes
/// the abort word of every rank it can reach and a record for its own host; then all waits of the epoch end. A peer whose process died leaves its last
/// flags behind, so its peers time out, or are revoked by the gateway, which sees the process end.
/// </remarks>
internal static class IpcLayout
{
    /// <summary>Ranks of a group at most: GPUs of one host that reach each other.</summary>
    public const int MostRanks = 16;

    /// <summary>Segment: why the epoch ended (<see cref="IpcFault"/> and who says so), or 0.</summary>
    public const int AbortAt = 0;

    /// <summary>Segment: flags by peer for the timing of single paths, which is no operation.</summary>
    public const int PingAt = 128;

    /// <summary>Segment: an abort word by peer, which the peer's host sets as the last it does with the segment.</summary>
    public const int LeftAt = PingAt + MostRanks * sizeof(long);

    /// <summary>Segment: flags (channel, round mod 2, peer).</summary>
    public const int FlagsAt = 512;

    /// <summary>Own memory: set by the thread that writes the record for the host.</summary>
    public const int FailedAt = 0;

    /// <summary>Own memory: groups of the running kernel that are done.</summary>
    public const int DoneAt = 4;

    /// <summary>Own memory: operations finished in this epoch.</summary>
    public const int OperationsAt = 8;

    /// <summary>Own memory: nanoseconds spent in operations.</summary>
    public const int ElapsedAt = 16;

    /// <summary>Own memory: last round of each channel.</summary>
    public const int RoundsAt = 128;

    /// <summary>Host's words: not 0 once the host has revoked the epoch. Written by the host, read by kernels.</summary>
    public const int RevokeAt = 0;

    /// <summary>Host's words: <see cref="IpcFault"/> of the first operation that failed; written last of the record, by a kernel.</summary>
    public const int StatusAt = 128;

    /// <summary>Record: <see cref="CollectiveOperation"/> that failed.</summary>
    public const int OperationAt = 132;

    /// <summary>Record: the peer it waited for.</summary>
    public const int PeerAt = 136;

    /// <summary>Record: what the peer announced instead, or the abort word.</summary>
    public const int DetailAt = 140;

    /// <summary>Record: the operation's number.</summary>
    public const int SequenceAt = 144;

    /// <summary>Record: nanoseconds waited.</summary>
    public const int WaitedAt = 152;

    /// <summary>Host's words: a copy of <see cref="ElapsedAt"/> for the host.</summary>
    public const int HostElapsedAt = 256;

    /// <summary>Host's words: nanoseconds that the timing kernel measured.</summary>
    public const int MeasuredAt = 264;

    /// <summary>Host's words: from here on the host's alone, to copy abort words from.</summary>
    public const int OutgoingAt = 384;

    /// <summary>Bytes of the host's words.</summary>
    public const int HostBytes = 512;

    /// <summary>Bytes before the data of a segment.</summary>
    public static int DataAt(int channels) => (FlagsAt + channels * 2 * MostRanks * sizeof(long) + 255) / 256 * 256;

    /// <summary>Bytes of a segment.</summary>
    public static long SegmentBytes(int channels, int halfWords) => DataAt(channels) + (long)channels * 2 * halfWords * sizeof(uint);

    /// <summary>Bytes of a rank's own memory, a multiple of 4.</summary>
    public static int StateBytes(int channels) => RoundsAt + channels * sizeof(int);

    /// <summary>An abort word: what, who says so, and of whom.</summary>
    public static int Abort(IpcFault fault, int rank, int peer) => (int)fault | rank << 8 | peer << 16;
}

/// <summary>How a wait on the device ends, other than well. The numbers travel between processes.</summary>
internal enum IpcFault
{
    /// <summary>It did not.</summary>
    None = 0,

    /// <summary>A host revoked the epoch.</summary>
    Revoked = 1,

    /// <summary>The ranks are in different operations.</summary>
    Mismatch = 2,

    /// <summary>A peer did not come.</summary>
    Timeout = 3,

    /// <summary>A rank left the group.</summary>
    Left = 4,
}

/// <summary>Sizes that every rank of a group must share, and when to go which way.</summary>
/// <param name="Channels">Groups that an operation may use. 32 of 256 threads leave no group of an H100 (132 multiprocessors) waiting for another.</param>
/// <param name="HalfWords">Words of one half of a channel; a multiple of 16.</param>
/// <param name="ChannelBytes">Bytes for which an operation takes one more channel: 16 bytes for each of 256 threads, one load each.</param>
/// <param name="TwoShotBytes">Bytes of all ranks' pieces from which a sum is cheaper when each rank adds a slice: reading them at some 100 GB/s takes as long as one more round.</param>
/// <param name="Threads">Threads of a group.</param>
internal readonly record struct IpcTuning(int Channels, int HalfWords, int ChannelBytes, long TwoShotBytes, int Threads)
{
    /// <summary>For GPUs: 16 MiB of data a rank.</summary>
    public static IpcTuning Gpu { get; } = new(Channels: 32, HalfWords: 64 << 10, ChannelBytes: 4 << 10, TwoShotBytes: 512 << 10, Threads: IpcSumKernel.MostThreads);

    /// <summary>Bytes of a segment.</summary>
    public long SegmentBytes => IpcLayout.SegmentBytes(Channels, HalfWords);
}
