namespace TpServe.Gateway.Scheduling;

/// <summary>One request is refused because as many sequences as the limit allows are waiting already.</summary>
public sealed class QueueFullException(int waiting, int limit)
    : Exception($"The queue is full: {waiting} sequences are waiting, the limit is {limit}.")
{
    /// <summary>Sequences waiting.</summary>
    public int Waiting { get; } = waiting;

    /// <summary>Waiting sequences at which requests are refused.</summary>
    public int Limit { get; } = limit;
}
