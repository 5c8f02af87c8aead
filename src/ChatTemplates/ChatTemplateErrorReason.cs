namespace TpServe.ChatTemplates;

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
