namespace TpServe.Gateway.Scheduling;

/// <summary>Where a sequence is on its way.</summary>
public enum SequenceState
{
    /// <summary>In the queue; owns nothing.</summary>
    Waiting,

    /// <summary>Owns all the blocks it can ever need and a row in every step.</summary>
    Running,

    /// <summary>Owns nothing any more.</summary>
    Finished,
}
