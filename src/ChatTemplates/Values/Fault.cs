namespace TpServe.ChatTemplates.Values;

/// <summary>Makes the exceptions of rendering, one method a Python exception class.</summary>
internal static class Fault
{
    public static ChatTemplateException Type(string message) => new(ChatTemplateErrorReason.Type, message);

    public static ChatTemplateException Value(string message) => new(ChatTemplateErrorReason.Value, message);

    public static ChatTemplateException Limit(string message) => new(ChatTemplateErrorReason.LimitExceeded, message);

    public static ChatTemplateException Input(string message) => new(ChatTemplateErrorReason.Input, message);
}
