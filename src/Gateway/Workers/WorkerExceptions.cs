namespace TpServe.Gateway.Workers;

/// <summary>Whose fault the end of an epoch was, as far as a request may have had to do with it.</summary>
public enum LossCause
{
    /// <summary>Nothing that ran: a worker was killed by a signal, is frozen, or its host or link went.</summary>
    External,

    /// <summary>A worker threw in a step, crashed by itself, never ended a step, or answered what cannot be: what ran may have made it.</summary>
    Worker,
}

/// <summary>The group's epoch has died: a rank exited, hung or disagreed. Names the rank and what happened to it.</summary>
public sealed class WorkerLostException(string message, LossCause cause, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whose fault it was.</summary>
    public LossCause Cause { get; } = cause;
}

/// <summary>The group was lost too often and is not tried again for a while, or ever: the message says why.</summary>
public sealed class GroupUnavailableException(string message) : Exception(message);

/// <summary>A worker cannot start, load its shard or join its group. Before the first success this ends the process.</summary>
public sealed class WorkerStartException : Exception
{
    /// <summary>A failure with its reason.</summary>
    public WorkerStartException(string message) : base(message) { }

    /// <summary>A failure with the fault that caused it.</summary>
    public WorkerStartException(string message, Exception inner) : base(message, inner) { }

    /// <summary>The worker only tells that a peer failed: the peer's own words say more.</summary>
    public bool BlamesPeer { get; init; }

    /// <summary>The worker said nothing: its link broke. Where it runs here, its exit code says more.</summary>
    public bool LostLink { get; init; }
}
