namespace TpServe.Collectives;

/// <summary>The group is lost: base of everything a collective can die of.</summary>
public abstract class GroupLostException(string message) : Exception(message);

/// <summary>The epoch was revoked, here or by a peer, while or before this rank waited.</summary>
public sealed class RevokedException(long epoch, string reason) : GroupLostException($"epoch {epoch} was revoked: {reason}")
{
    /// <summary>The epoch that ended.</summary>
    public long Epoch { get; } = epoch;

    /// <summary>Why, in the words of whoever ended it.</summary>
    public string Reason { get; } = reason;
}

/// <summary>A peer did not arrive before the deadline: it is dead, stuck, or on another path.</summary>
public sealed class CollectiveTimeoutException(string operation, int rank, int missingRank, long sequence, TimeSpan elapsed)
    : GroupLostException($"{operation} {sequence}: rank {rank} waited {elapsed.TotalMilliseconds:F0} ms for rank {missingRank}.")
{
    /// <summary>Which operation.</summary>
    public string Operation { get; } = operation;

    /// <summary>Who waited.</summary>
    public int Rank { get; } = rank;

    /// <summary>Whom it waited for.</summary>
    public int MissingRank { get; } = missingRank;

    /// <summary>The operation's number in the epoch.</summary>
    public long Sequence { get; } = sequence;

    /// <summary>How long it waited.</summary>
    public TimeSpan Elapsed { get; } = elapsed;
}

/// <summary>Two ranks are in different operations, steps or shapes: a bug or a stale peer, found before any data is used.</summary>
public sealed class CollectiveMismatchException(string message) : GroupLostException(message);

/// <summary>A group could not be formed over this transport: no room, no path to a peer, or data that arrived different from what was sent.</summary>
public sealed class TransportFailedException(string message) : GroupLostException(message);

/// <summary>Why a rank ended the epoch for everyone. The numbers travel between processes.</summary>
internal enum AbortKind
{
    /// <summary>Somebody called Revoke, or a rank failed or gave up waiting.</summary>
    Revoked = 1,

    /// <summary>A rank found that the ranks are in different operations.</summary>
    Mismatch = 2,
}

/// <summary>The end of an epoch, as a rank that did not cause it learns of it.</summary>
internal readonly record struct GroupAbort(AbortKind Kind, string Reason)
{
    /// <summary>What the first operation after it, or the one waiting, throws.</summary>
    public GroupLostException ToException(long epoch) =>
        Kind == AbortKind.Mismatch ? new CollectiveMismatchException(Reason) : new RevokedException(epoch, Reason);
}
