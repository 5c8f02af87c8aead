namespace TpServe.Gateway.Workers;

/// <summary>A worker cannot start, load its shard or join its group. Before the first success this ends the process.</summary>
public sealed class WorkerStartException : Exception
{
    /// <summary>A failure with its reason.</summary>
    public WorkerStartException(string message) : base(message) { }

    /// <summary>A failure with the fault that caused it.</summary>
    public WorkerStartException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>The group's epoch has died: a rank exited, hung or disagreed. Names the rank and what happened to it.</summary>
public sealed class WorkerLostException(string message, Exception? inner = null) : Exception(message, inner);
