namespace TpServe.ChatTemplates.Lexing;

/// <summary>The kinds of token.</summary>
internal enum TokenKind
{
    /// <summary>Template text, white space already trimmed.</summary>
    Data,

    /// <summary>{{</summary>
    PrintBegin,

    /// <summary>}}</summary>
    PrintEnd,

    /// <summary>{%</summary>
    TagBegin,

    /// <summary>%}</summary>
    TagEnd,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A string, its quotes and escapes resolved.</summary>
    String,

    /// <summary>An integer as written, underscores removed.</summary>
    Integer,

    /// <summary>A float as written, underscores removed.</summary>
    Float,

    /// <summary>An operator or bracket.</summary>
    Operator,

    /// <summary>The end of the template.</summary>
    End,
}

/// <summary>One token of a template.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text or value.</param>
/// <param name="Line">Its line, 1-based.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Line)
{
    /// <summary>Whether this is a given name.</summary>
    public bool IsName(string name) => Kind == TokenKind.Name && Text == name;

    /// <summary>Whether this is a given operator.</summary>
    public bool IsOperator(string op) => Kind == TokenKind.Operator && Text == op;

    /// <summary>How a message names it.</summary>
    public string Describe() => Kind switch
    {
        TokenKind.Data => "template text",
        TokenKind.End => "end of template",
        TokenKind.TagEnd => "end of statement block",
        TokenKind.PrintEnd => "end of print statement",
        _ => $"'{Text}'",
    };
}
