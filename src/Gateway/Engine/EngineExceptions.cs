namespace TpServe.Gateway.Engine;

/// <summary>A request cannot be answered now: its worker group was lost, or the server drains or stops. Trying again may help.</summary>
public sealed class EngineUnavailableException(string reason, string message) : Exception(message)
{
    /// <summary>WORKER_LOST, GROUP_UNAVAILABLE, DRAINING, STOPPING: UPPER_SNAKE_CASE, for programs to compare.</summary>
    public string Reason { get; } = reason;
}

/// <summary>A request's deadline came before its last token, or cannot be met.</summary>
public sealed class DeadlineExceededException(string message) : Exception(message);

/// <summary>The engine's loop met a fault of TpServe itself; the process ends.</summary>
public sealed class EngineFailedException(string message) : Exception(message);

/// <summary>A later reader goes on with the stream: its client has come back over another connection.</summary>
public sealed class StreamTakenOverException() : Exception("Another connection goes on with this stream.");

/// <summary>One request ended because of itself: its own arithmetic failed, the group died of it, or its constraint leaves no way on. No other request was touched.</summary>
public sealed class RequestFaultException(string reason, string message, bool isAsked = false) : Exception(message)
{
    /// <summary>NOT_FINITE, POISON_REQUEST, CONSTRAINT_STUCK: UPPER_SNAKE_CASE, for programs to compare.</summary>
    public string Reason { get; } = reason;

    /// <summary>It lies in what the request asks for, and not in the server or the model.</summary>
    public bool IsAsked { get; } = isAsked;
}
