namespace TpServe.ChatTemplates;

/// <summary>A chat template cannot be parsed, or did not render for one request.</summary>
public sealed class ChatTemplateException : Exception
{
    internal ChatTemplateException(ChatTemplateErrorReason reason, string message, int? line = null, Exception? inner = null)
        : base(message, inner)
    {
        Reason = reason;
        Line = line;
    }

    /// <summary>The kind of fault.</summary>
    public ChatTemplateErrorReason Reason { get; }

    /// <summary>The template's line, 1-based, where it is known.</summary>
    public int? Line { get; internal set; }

    /// <summary>The message; a fault of the template itself ends with its line.</summary>
    public override string Message => Line is { } line && Reason is not ChatTemplateErrorReason.Raised
        ? $"{base.Message} (line {line})"
        : base.Message;
}

/// <summary>What kind of fault ended the parsing or rendering of a chat template.</summary>
public enum ChatTemplateErrorReason
{
    /// <summary>The template's text is not valid: unknown tag, unbalanced bracket, unknown filter.</summary>
    Syntax,

    /// <summary>A value that is not defined was used for more than printing, testing or looping.</summary>
    Undefined,

    /// <summary>An operation met a type it is not made for, such as text plus a number.</summary>
    Type,

    /// <summary>The type is right and the value is not: division by zero, a wrong format, too many values to unpack.</summary>
    Value,

    /// <summary>The template called raise_exception; the message is the template's own.</summary>
    Raised,

    /// <summary>The template tried what the sandbox forbids, such as changing a list.</summary>
    Security,

    /// <summary>A limit on steps, depth, output, time, template or number size was reached.</summary>
    LimitExceeded,

    /// <summary>The request's data do not fit: messages that are not a list, nothing to continue, text that is not Unicode.</summary>
    Input,
}

/// <summary>Makes the exceptions of rendering, one method a Python exception class.</summary>
internal static class Fault
{
    public static ChatTemplateException Type(string message) => new(ChatTemplateErrorReason.Type, message);

    public static ChatTemplateException Value(string message) => new(ChatTemplateErrorReason.Value, message);

    public static ChatTemplateException Limit(string message) => new(ChatTemplateErrorReason.LimitExceeded, message);

    public static ChatTemplateException Input(string message) => new(ChatTemplateErrorReason.Input, message);
}
