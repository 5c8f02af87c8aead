namespace TpServe.Gateway.Engine;

/// <summary>A request cannot be answered now: its worker group was lost, or the server drains or stops. Trying again may help.</summary>
public sealed class EngineUnavailableException(string reason, string message) : Exception(message)
{
    /// <summary>WORKER_LOST, DRAINING, STOPPING: UPPER_SNAKE_CASE, for programs to compare.</summary>
    public string Reason { get; } = reason;
}
