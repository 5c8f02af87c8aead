namespace TpServe.Gateway.Engine;

/// <summary>Why an output ended.</summary>
public enum EndReason
{
    /// <summary>An end token, a stop token or a stop string.</summary>
    Stop,

    /// <summary>It has as many tokens as it may have.</summary>
    Length,

    /// <summary>An operator ended it.</summary>
    Aborted,
}
