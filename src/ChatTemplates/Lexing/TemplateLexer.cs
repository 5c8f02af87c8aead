using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Lexing;

/// <summary>Cuts a template into tokens, with Jinja's trim_blocks and lstrip_blocks on.</summary>
/// <remarks>
/// White space: a minus beside a tag strips everything up to it; without sign, a block tag or comment that begins a line loses the blanks before it,
/// and one line end after it is dropped; a plus keeps both. One line end at the template's end is dropped.
/// Source   Jinja 3.1 documentation, "Whitespace Control".
/// </remarks>
internal sealed class TemplateLexer
{
    /// <summary>Longer than any template by far.</summary>
    public const int MaxLength = 1 << 20;

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private readonly ExpressionLexer _expressions;
    private int _at;

    private TemplateLexer(string source)
    {
        _source = source;
        _expressions = new ExpressionLexer(source, _tokens);
    }

    /// <summary>The tokens of a template, the last of them <see cref="TokenKind.End"/>.</summary>
    public static List<Token> Tokenize(string template)
    {
        if (template.Length > MaxLength)
            throw new ChatTemplateException(
                ChatTemplateErrorReason.LimitExceeded, $"The template has {template.Length} characters; the limit is {MaxLength}.");
        string source = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (source.EndsWith('\n'))
            source = source[..^1];
        TemplateLexer lexer = new(source);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (_at < _source.Length)
        {
            int open = FindOpening(_at);
            if (open < 0)
            {
                Emit(TokenKind.Data, _source[_at..], _at);
                break;
            }
            char kind = _source[open + 1];
            int inside = open + 2;
            char sign = inside < _source.Length && _source[inside] is '-' or '+' ? _source[inside++] : '\0';
            EmitText(_at, open, sign, kind);
            _at = kind switch
            {
                '#' => SkipComment(open, inside),
                '%' => RawBegin(inside) is { } body ? Raw(open, body) : _expressions.Run(open, inside, TokenKind.TagBegin),
                _ => _expressions.Run(open, inside, TokenKind.PrintBegin),
            };
        }
        Emit(TokenKind.End, "", _source.Length);
    }

    private int FindOpening(int from)
    {
        for (int at = _source.IndexOf('{', from); at >= 0 && at + 1 < _source.Length; at = _source.IndexOf('{', at + 1))
            if (_source[at + 1] is '{' or '%' or '#')
                return at;
        return -1;
    }

    /// <summary>Emits the text before a tag, stripped as the tag's sign says.</summary>
    private void EmitText(int start, int end, char sign, char kind)
    {
        int stripped = end;
        if (sign == '-')
        {
            while (stripped > start && PythonText.IsSpace(_source[stripped - 1]))
                stripped--;
        }
        else if (sign != '+' && kind != '{')
        {
            int blanks = end;
            while (blanks > start && _source[blanks - 1] != '\n' && PythonText.IsSpace(_source[blanks - 1]))
                blanks--;
            if (blanks > start ? _source[blanks - 1] == '\n' : start == 0 || _source[start - 1] == '\n')
                stripped = blanks;
        }
        if (stripped > start)
            Emit(TokenKind.Data, _source[start..stripped], start);
    }

    private int SkipComment(int open, int inside)
    {
        int close = _source.IndexOf("#}", inside, StringComparison.Ordinal);
        if (close < 0 && inside == _source.Length)
            return inside; // Jinja forgives a comment that opens with the template's last characters
        if (close < 0)
            throw _expressions.Fail("Missing end of comment tag", open);
        char sign = close > inside && _source[close - 1] is '-' or '+' ? _source[close - 1] : '\0';
        return AfterTag(_source, close + 2, sign);
    }

    /// <summary>Where the text of a raw block begins, or null where the tag is not raw.</summary>
    private int? RawBegin(int inside)
    {
        int at = SkipSpace(inside);
        if (string.CompareOrdinal(_source, at, "raw", 0, 3) != 0)
            return null;
        at = SkipSpace(at + 3);
        if (string.CompareOrdinal(_source, at, "-%}", 0, 3) == 0)
            return SkipSpace(at + 3);
        return string.CompareOrdinal(_source, at, "%}", 0, 2) == 0 ? at + 2 : null;
    }

    private int Raw(int open, int body)
    {
        for (int tag = _source.IndexOf("{%", body, StringComparison.Ordinal); tag >= 0; tag = _source.IndexOf("{%", tag + 2, StringComparison.Ordinal))
        {
            int at = tag + 2;
            char sign = at < _source.Length && _source[at] is '-' or '+' ? _source[at++] : '\0';
            at = SkipSpace(at);
            if (string.CompareOrdinal(_source, at, "endraw", 0, 6) != 0)
                continue;
            at = SkipSpace(at + 6);
            char endSign = at < _source.Length && _source[at] is '-' or '+' ? _source[at++] : '\0';
            if (string.CompareOrdinal(_source, at, "%}", 0, 2) != 0)
                continue;
            EmitText(body, tag, sign, '%');
            return AfterTag(_source, at + 2, endSign);
        }
        return body == _source.Length ? body : throw _expressions.Fail("Missing end of raw directive", open);
    }

    /// <summary>Where the text goes on after a closed block tag or comment.</summary>
    public static int AfterTag(string source, int at, char sign)
    {
        if (sign == '-')
        {
            while (at < source.Length && PythonText.IsSpace(source[at]))
                at++;
        }
        else if (sign != '+' && at < source.Length && source[at] == '\n')
        {
            at++;
        }
        return at;
    }

    private int SkipSpace(int at) => AfterTag(_source, at, '-');

    private void Emit(TokenKind kind, string text, int position) => _tokens.Add(new Token(kind, text, _expressions.LineAt(position)));
}
