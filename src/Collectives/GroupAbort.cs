namespace TpServe.Collectives;

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
