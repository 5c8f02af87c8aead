namespace TpServe.Gateway.Workers;

/// <summary>What follows the loss of a rank.</summary>
public enum OnRankLoss
{
    /// <summary>The ranks that died are started again; the others keep what they have loaded.</summary>
    Restart,

    /// <summary>The group stays down: requests are refused, the process lives.</summary>
    Fail,

    /// <summary>The ranks that are left go on with a plan of their own, and all of them again once nothing runs.</summary>
    Shrink,
}

/// <summary>How patient the group's supervision is, and what it does about a loss.</summary>
public sealed record GroupPolicy
{
    /// <summary>What follows the loss of a rank.</summary>
    public OnRankLoss OnRankLoss { get; init; } = OnRankLoss.Restart;

    /// <summary>How long nothing may be heard of the workers before they are pinged; see <see cref="Heartbeat"/>. Default 2 s.</summary>
    public TimeSpan SuspectAfter { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a step may take while every worker answers pings. Default 120 s.</summary>
    public TimeSpan StepTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>How long workers may take to load. Default 10 min.</summary>
    public TimeSpan LoadTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Losses and failed starts within <see cref="CrashWindow"/> that open the circuit. Default 5.</summary>
    public int CrashLimit { get; init; } = 5;

    /// <summary>How long a loss or a failed start counts. Default 10 min.</summary>
    public TimeSpan CrashWindow { get; init; } = TimeSpan.FromMinutes(10);
}
