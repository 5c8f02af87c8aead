namespace TpServe.Collectives.SharedMemory;

// One segment belongs to one rank and is mapped by all ranks of the group:
//
//   identity   magic, epoch, rank, degree, block size; a ready word, written last
//   counters   published, closed, attached, left        written by the owner, read by the peers
//   waiting    is the owner asleep on its doorbell      written by the owner, read by the peers
//   doorbell   futex the owner sleeps on                incremented by anyone
//   abort      the end of the epoch; only rank 0's counts   compare-and-swap by anyone
//   reason     the owner's words for its abort          written by the owner before it swaps the abort word
//   slot 0, 1  header of the operation, length, block   written by the owner, read by the peers
//
// Each group of fields has a cache line (or more) of its own, so that writing one does not take another from its readers.

/// <summary>Where things lie in a rank's segment: byte offsets, the same in every process of a release.</summary>
internal static class SegmentLayout
{
    public const int CacheLine = 64;

    /// <summary>"TPSEG" and the layout's version.</summary>
    public const long Magic = 0x5450_5345_4700_0001;

    public const int MagicAt = 0;
    public const int EpochAt = 8;
    public const int RankAt = 16;
    public const int DegreeAt = 20;
    public const int BlockBytesAt = 24;
    public const int ReadyAt = 28;

    public const int PublishedAt = 1 * CacheLine;
    public const int ClosedAt = PublishedAt + 4;
    public const int AttachedAt = PublishedAt + 8;
    public const int LeftAt = PublishedAt + 12;

    public const int WaitingAt = 2 * CacheLine;
    public const int DoorbellAt = 3 * CacheLine;
    public const int AbortAt = 4 * CacheLine;

    public const int ReasonLengthAt = 5 * CacheLine;
    public const int ReasonAt = ReasonLengthAt + 4;
    public const int ReasonBytes = 2048;

    /// <summary>One page for all of the above.</summary>
    public const int ControlBytes = 4096;

    /// <summary>A slot begins with the operation's header, then the block's length; the block follows on the next cache line.</summary>
    public const int SlotHeaderBytes = CacheLine;

    /// <summary>Where, in a slot, the block's length lies: behind the header.</summary>
    public const int SlotLengthAt = 56;

    /// <summary>Where slot 0 or 1 begins.</summary>
    public static long SlotAt(int slot, int blockBytes) => ControlBytes + (long)slot * (SlotHeaderBytes + blockBytes);

    /// <summary>Bytes of a segment.</summary>
    public static long SegmentBytes(int blockBytes) => SlotAt(2, blockBytes);
}
