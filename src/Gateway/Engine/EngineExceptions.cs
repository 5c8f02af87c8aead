namespace TpServe.Gateway.Engine;

/// <summary>A request cannot be answered now: its worker group was lost, or the server drains or stops. Trying again may help.</summary>
public sealed class EngineUnavailableException(string reason, string message) : Exception(message)
{
    /// <summary>WORKER_LOST, DRAINING, STOPPING: UPPER_SNAKE_CASE, for programs to compare.</summary>
    public string Reason { get; } = reason;
}

/// <summary>A request's deadline came before its last token.</summary>
public sealed class DeadlineExceededException(string message) : Exception(message);

/// <summary>The engine's loop met a fault of TpServe itself; the process ends.</summary>
public sealed class EngineFailedException(string message) : Exception(message);
