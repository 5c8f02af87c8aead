namespace TpServe.Gateway.Scheduling;

/// <summary>Why the scheduler ended a sequence.</summary>
public enum SequenceEnd
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>Its last token is one of its end tokens.</summary>
    EndToken,

    /// <summary>It has as many tokens as it may have.</summary>
    Length,
}
