using System.Diagnostics;
using System.Runtime.InteropServices;

namespace TpServe.Collectives;

/// <summary>The operation a rank is in: its header, its deadline, and the exceptions it can end with.</summary>
/// <remarks>Threads   one rank's thread. One object serves all operations, so that a step allocates nothing.</remarks>
/// <param name="rank">This rank's place in the group.</param>
/// <param name="timeout">How long an operation waits for the peers.</param>
/// <param name="names">The rank at each place, for exceptions; null where that is the place.</param>
internal sealed class OperationContext(int rank, TimeSpan timeout, IReadOnlyList<int>? names = null)
{
    private readonly long _timeoutTicks = (long)(timeout.TotalSeconds * Stopwatch.Frequency);
    private OperationHeader _header;

    /// <summary>What this rank announces, and what every peer must announce too.</summary>
    public ref readonly OperationHeader Header => ref _header;

    /// <summary>Stopwatch ticks at which the operation began.</summary>
    public long StartedAt { get; private set; }

    /// <summary>Stopwatch ticks at which it gives up; the whole operation has one deadline, however many waits it takes.</summary>
    public long DeadlineAt { get; private set; }

    /// <summary>Time left; zero or less when the deadline has passed.</summary>
    public TimeSpan Remaining => Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), DeadlineAt);

    /// <summary>Stopwatch ticks of all operations so far in which this rank had nothing to do but wait for a peer.</summary>
    public long WaitedTicks { get; private set; }

    /// <summary>This rank has waited since <paramref name="since"/>, in Stopwatch ticks.</summary>
    public void NoteWait(long since) => WaitedTicks += Stopwatch.GetTimestamp() - since;

    /// <summary>Starts the next operation and its clock.</summary>
    /// <param name="header">What is announced.</param>
    /// <param name="patience">How long the peers are waited for; null = as long as for any operation of the group.</param>
    /// <param name="startedAt">When the waiting began, in Stopwatch ticks: earlier than now where this is a part of a longer operation.</param>
    public void Begin(in OperationHeader header, TimeSpan? patience, long startedAt)
    {
        _header = header;
        StartedAt = startedAt;
        DeadlineAt = StartedAt + (patience is { } longer ? (long)(longer.TotalSeconds * Stopwatch.Frequency) : _timeoutTicks);
    }

    /// <summary>The deadline passed while this rank waited for <paramref name="missingRank"/>.</summary>
    public CollectiveTimeoutException Timeout(int missingRank) =>
        new(_header.Operation.ToString(), Name(rank), Name(missingRank), _header.Sequence, Stopwatch.GetElapsedTime(StartedAt));

    /// <summary><paramref name="peer"/> announced something else.</summary>
    public CollectiveMismatchException Mismatch(int peer, in OperationHeader theirs) =>
        new($"rank {Name(rank)} is in {_header}, rank {Name(peer)} in {theirs}.");

    /// <summary><paramref name="peer"/> announced the same operation but sent a block of another length.</summary>
    public CollectiveMismatchException WrongLength(int peer, long expectedBytes, long foundBytes) =>
        new($"rank {Name(rank)} in {_header} expected {expectedBytes} bytes of rank {Name(peer)}, which sent {foundBytes}.");

    /// <summary>This rank still needs <paramref name="peer"/>, which is gone: <paramref name="how"/>.</summary>
    public RevokedException PeerGone(int peer, string how) =>
        new(_header.Epoch, $"rank {Name(rank)} in {_header.Operation} {_header.Sequence} needs rank {Name(peer)}, but {how}");

    private int Name(int place) => names is null ? place : names[place];
}

/// <summary>What a rank is doing: travels before every block, so that ranks that disagree find out before any data is used.</summary>
/// <param name="Epoch">Life of the group.</param>
/// <param name="Step">Step of the epoch.</param>
/// <param name="Sequence">Counts the operations of the epoch, from 1.</param>
/// <param name="Fingerprint">Hash of the rest that must agree: element type, who owns what, root.</param>
/// <param name="Operation">Which operation.</param>
/// <param name="Rows">Rows of the whole operand.</param>
/// <param name="Columns">Columns of the whole operand.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct OperationHeader(
    long Epoch, long Step, long Sequence, ulong Fingerprint, CollectiveOperation Operation, int Rows, int Columns)
{
    /// <summary>"SumTree 12 (epoch 1, step 3, 1 x 576)".</summary>
    public override string ToString() => $"{Operation} {Sequence} (epoch {Epoch}, step {Step}, {Rows} x {Columns}, layout {Fingerprint & 0xFFFF:x4})";
}

/// <summary>Which operation a block belongs to. The numbers travel between processes.</summary>
internal enum CollectiveOperation
{
    SumTree = 1,
    SumDisjoint = 2,
    AllGather = 3,
    Gather = 4,
    Broadcast = 5,
    Barrier = 6,
}

/// <summary>FNV-1a over 32-bit words: a short name for data that all ranks must agree on. Not for security.</summary>
internal static class Fingerprint
{
    /// <summary>The hash of nothing.</summary>
    public const ulong Empty = 14695981039346656037UL;

    /// <summary>The hash of what came before and one more number.</summary>
    public static ulong With(this ulong hash, int value) => (hash ^ (uint)value) * 1099511628211UL;

    /// <summary>The hash of what came before, a length, and so many numbers.</summary>
    public static ulong With(this ulong hash, IReadOnlyList<int> values)
    {
        hash = hash.With(values.Count);
        for (int i = 0; i < values.Count; i++)
            hash = hash.With(values[i]);
        return hash;
    }
}

/// <summary>How a rank waits for a peer that will probably answer soon: busily for a moment, then asleep.</summary>
internal static class BriefSpin
{
    /// <summary>Stopwatch ticks after which it sleeps: a sleep and a wake cost about as much as a small exchange takes, and a longer wait is not worth a core.</summary>
    public static readonly long Ticks = Stopwatch.Frequency * 50 / 1_000_000;

    /// <summary>Lets another thread run where ranks may share a core, for the peer waited for may need this one. Elsewhere only a stranger would get it, and keep it for milliseconds.</summary>
    /// <remarks>Measured over shared memory: 1.6 µs a sum of 576 floats between ranks on cores of their own; on one core 14 µs with the yield, 85 without.</remarks>
    /// <param name="ranks">Of the group.</param>
    public static void Yield(int ranks)
    {
        if (ranks > Environment.ProcessorCount)
            Thread.Yield();
    }
}
