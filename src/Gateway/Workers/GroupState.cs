namespace TpServe.Gateway.Workers;

/// <summary>What the worker group is doing.</summary>
public enum GroupState
{
    /// <summary>Workers start or load.</summary>
    Starting,

    /// <summary>Steps can run.</summary>
    Ready,

    /// <summary>A worker was lost; a new group starts.</summary>
    Lost,

    /// <summary>The circuit is open: it could not be brought up again; requests are refused until it can.</summary>
    Broken,

    /// <summary>Ended for good.</summary>
    Stopped,
}
