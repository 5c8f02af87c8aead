using Google.Protobuf;

namespace TpServe.Gateway.Scheduling;

/// <summary>What the next token of one output may be, as its text so far has it.</summary>
/// <remarks>Threads  one caller at a time.</remarks>
public interface ITokenConstraint
{
    /// <summary>As SequenceStep.allowed; empty where no token may come.</summary>
    ByteString Allowed { get; }

    /// <summary>Tokens that come next whatever the model wants, of which <see cref="Allowed"/> names the first; empty where there is a choice.</summary>
    /// <remarks>A function of the text so far: how many of them a step takes changes no token.</remarks>
    ReadOnlySpan<int> Forced { get; }

    /// <summary>What may come after so many of them.</summary>
    ByteString AllowedAfter(int forced);

    /// <summary>The text is whole and nothing can follow.</summary>
    bool IsComplete { get; }

    /// <summary>Why the text cannot go on though it is not whole; null where it can.</summary>
    string? Fault { get; }

    /// <summary>A token was chosen that does not end the output.</summary>
    void Take(int token);
}
