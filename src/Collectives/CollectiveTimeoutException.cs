namespace TpServe.Collectives;

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
