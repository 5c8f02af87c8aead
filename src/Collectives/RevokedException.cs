namespace TpServe.Collectives;

/// <summary>The epoch was revoked, here or by a peer, while or before this rank waited.</summary>
public sealed class RevokedException(long epoch, string reason) : GroupLostException($"epoch {epoch} was revoked: {reason}")
{
    /// <summary>The epoch that ended.</summary>
    public long Epoch { get; } = epoch;
}
