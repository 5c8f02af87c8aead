namespace TpServe.Collectives;

/// <summary>The epoch was revoked, here or by a peer, while or before this rank waited.</summary>
public sealed class RevokedException(long epoch, string reason) : GroupLostException($"epoch {epoch} was revoked: {reason}")
{
    /// <summary>The epoch that ended.</summary>
    public long Epoch { get; } = epoch;

    /// <summary>Why, in the words of whoever ended it.</summary>
    public string Reason { get; } = reason;
}
