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
