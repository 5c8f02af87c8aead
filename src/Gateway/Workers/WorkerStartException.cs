namespace TpServe.Gateway.Workers;

/// <summary>A worker cannot start, load its shard or join its group. Before the first success this ends the process.</summary>
public sealed class WorkerStartException : Exception
{
    /// <summary>A failure with its reason.</summary>
    public WorkerStartException(string message) : base(message) { }

    /// <summary>A failure with the fault that caused it.</summary>
    public WorkerStartException(string message, Exception inner) : base(message, inner) { }
}
