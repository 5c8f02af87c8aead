namespace TpServe.Grammar;

/// <summary>Why a constraint cannot be used.</summary>
public enum GrammarErrorKind
{
    /// <summary>The text is not what it claims to be: malformed JSON, pattern or grammar, or a keyword with a wrong value.</summary>
    Invalid,

    /// <summary>Well-formed, but it uses something that is not served.</summary>
    NotServed,

    /// <summary>It is larger, deeper or slower than the limits allow.</summary>
    Limit,

    /// <summary>No text at all would satisfy it.</summary>
    Unsatisfiable,
}

/// <summary>A constraint cannot be compiled, or its run passed a limit. It concerns one request only.</summary>
public sealed class GrammarException : Exception
{
    /// <summary>A fault at a place of the constraint's text.</summary>
    /// <param name="kind">What kind of fault.</param>
    /// <param name="subject">The keyword, rule, construct or limit.</param>
    /// <param name="place">A JSON pointer with '#', or "line L, column C"; empty where the whole text is meant.</param>
    /// <param name="reason">The value and what was expected.</param>
    public GrammarException(GrammarErrorKind kind, string subject, string place, string reason)
        : base(place.Length == 0 ? $"'{subject}': {reason}" : $"'{subject}' at {place}: {reason}")
    {
        Kind = kind;
        Subject = subject;
        Place = place;
    }

    /// <summary>What kind of fault.</summary>
    public GrammarErrorKind Kind { get; }

    /// <summary>The keyword, rule, construct or limit.</summary>
    public string Subject { get; }

    /// <summary>A JSON pointer with '#', or line and column.</summary>
    public string Place { get; }

    /// <summary>Which of an output's parts it is about, by the name that its maker gave it; null = none by name.</summary>
    public string? Part { get; internal set; }

    internal static GrammarException Limit(string limit, long most, string place = "") =>
        new(GrammarErrorKind.Limit, limit, place, $"more than {most}");
}
