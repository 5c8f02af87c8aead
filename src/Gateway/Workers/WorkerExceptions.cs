namespace TpServe.Gateway.Workers;

/// <summary>A worker cannot start, load its shard or join its group. Before the first success this ends the process.</summary>
public sealed class WorkerStartException : Exception
{
    /// <summary>A failure with its reason.</summary>
    public WorkerStartException(string message) : base(message) { }

    /// <summary>A failure with the fault that caused it.</summary>
    public WorkerStartException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>Where a loss came from, as far as the gateway can tell.</summary>
public enum LossCause
{
    /// <summary>From outside: a kill, a frozen process, a link or a host that went.</summary>
    External,

    /// <summary>A worker failed by itself, at what it was computing.</summary>
    Worker,
}

/// <summary>The group's epoch has died: a rank exited, hung or disagreed. Names the rank and what happened to it.</summary>
public sealed class WorkerLostException(string message, LossCause cause, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Where it came from.</summary>
    public LossCause Cause { get; } = cause;
}

/// <summary>The group cannot be brought up for now; the message says why.</summary>
public sealed class GroupUnavailableException(string message) : Exception(message);
