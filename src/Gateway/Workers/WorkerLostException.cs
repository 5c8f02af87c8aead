namespace TpServe.Gateway.Workers;

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
