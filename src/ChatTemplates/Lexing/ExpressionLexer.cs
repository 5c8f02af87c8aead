using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Lexing;

/// <summary>Cuts the inside of a tag into tokens, up to the mark that closes it outside all brackets.</summary>
internal sealed class ExpressionLexer(string source, List<Token> tokens)
{
    private readonly Stack<char> _open = new();
    private int _line = 1;
    private int _counted;

    /// <summary>Reads from behind the opening mark; returns where the template's text goes on.</summary>
    public int Run(int open, int at, TokenKind begin)
    {
        bool isPrint = begin == TokenKind.PrintBegin;
        Emit(begin, isPrint ? "{{" : "{%", open);
        _open.Clear();
        while (at < source.Length)
        {
            if (_open.Count == 0 && Closing(at, isPrint) is { } after)
            {
                Emit(isPrint ? TokenKind.PrintEnd : TokenKind.TagEnd, isPrint ? "}}" : "%}", at);
                return after;
            }
            char c = source[at];
            if (PythonText.IsSpace(c))
                at++;
            else if (char.IsAsciiDigit(c))
                at = Number(at);
            else if (c == '_' || char.IsLetter(c))
                at = Name(at);
            else if (c is '\'' or '"')
                at = String(at);
            else
                at = Operator(at);
        }
        return at;
    }

    /// <summary>The line of a position; positions are asked for in ascending order.</summary>
    public int LineAt(int position)
    {
        if (position > _counted)
        {
            _line += source.AsSpan(_counted, position - _counted).Count('\n');
            _counted = position;
        }
        return _line;
    }

    public ChatTemplateException Fail(string message, int position) => new(ChatTemplateErrorReason.Syntax, message, LineAt(position));

    private int? Closing(int at, bool isPrint)
    {
        char sign = source[at] is '-' or '+' ? source[at] : '\0';
        int mark = sign == '\0' ? at : at + 1;
        if (string.CompareOrdinal(source, mark, isPrint ? "}}" : "%}", 0, 2) != 0 || (isPrint && sign == '+'))
            return null;
        return isPrint && sign == '\0' ? mark + 2 : TemplateLexer.AfterTag(source, mark + 2, sign);
    }

    private int Number(int at)
    {
        bool afterDot = at > 0 && source[at - 1] == '.';
        int whole = Digits(at, char.IsAsciiDigit);
        if (!afterDot && FloatEnd(whole) is { } end)
        {
            Emit(TokenKind.Float, source[at..end].Replace("_", "", StringComparison.Ordinal), at);
            return end;
        }
        int radixed = source[at] == '0' && at + 1 < source.Length ? char.ToLowerInvariant(source[at + 1]) switch
        {
            'x' => Digits(at + 2, char.IsAsciiHexDigit, true),
            'o' => Digits(at + 2, static c => c is >= '0' and <= '7', true),
            'b' => Digits(at + 2, static c => c is '0' or '1', true),
            _ => at + 2,
        } : at + 2;
        if (radixed > at + 2)
            whole = radixed;
        else if (source[at] == '0')
            whole = Digits(at, static c => c == '0');
        Emit(TokenKind.Integer, source[at..whole].Replace("_", "", StringComparison.Ordinal), at);
        return whole;
    }

    /// <summary>The end of digits with single underscores between them; with a leading underscore where it is allowed.</summary>
    private int Digits(int at, Func<char, bool> isDigit, bool leadingUnderscore = false)
    {
        int end = at;
        if (leadingUnderscore && at + 1 < source.Length && source[at] == '_' && isDigit(source[at + 1]))
            end++;
        while (end < source.Length && (isDigit(source[end]) || (source[end] == '_' && end > at && end + 1 < source.Length && isDigit(source[end + 1]))))
            end++;
        return end;
    }

    /// <summary>The end of a float whose whole part ends here, or null where only an integer stands.</summary>
    private int? FloatEnd(int whole)
    {
        int end = whole;
        if (end + 1 < source.Length && source[end] == '.' && char.IsAsciiDigit(source[end + 1]))
            end = Digits(end + 1, char.IsAsciiDigit);
        if (end < source.Length && source[end] is 'e' or 'E')
        {
            int exponent = end + 1;
            if (exponent < source.Length && source[exponent] is '+' or '-')
                exponent++;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
                end = Digits(exponent, char.IsAsciiDigit);
        }
        return end > whole ? end : null;
    }

    private int Name(int at)
    {
        int end = at;
        while (end < source.Length && (source[end] == '_' || char.IsLetterOrDigit(source[end]) || char.GetUnicodeCategory(source[end]) is
            System.Globalization.UnicodeCategory.NonSpacingMark or System.Globalization.UnicodeCategory.SpacingCombiningMark or
            System.Globalization.UnicodeCategory.ConnectorPunctuation))
            end++;
        Emit(TokenKind.Name, source[at..end], at);
        return end;
    }

    private int String(int at)
    {
        char quote = source[at];
        int end = at + 1;
        while (end < source.Length && source[end] != quote)
            end += source[end] == '\\' ? 2 : 1;
        if (end >= source.Length)
            throw Fail($"unexpected char {PythonText.Quote(quote.ToString())}: the string has no end", at);
        string text = StringEscapes.Resolve(source.AsSpan(at + 1, end - at - 1)) ?? throw Fail("malformed escape in a string", at);
        Emit(TokenKind.String, text, at);
        return end + 1;
    }

    private int Operator(int at)
    {
        string two = source.Substring(at, Math.Min(2, source.Length - at));
        if (two is "//" or "**" or "==" or "!=" or ">=" or "<=")
        {
            Emit(TokenKind.Operator, two, at);
            return at + 2;
        }
        char c = source[at];
        if (!"+-/*%~[](){}><=.:|,;".Contains(c, StringComparison.Ordinal))
            throw Fail($"unexpected char {PythonText.Quote(c.ToString())}", at);
        if (c is '(' or '[' or '{')
            _open.Push(c switch { '(' => ')', '[' => ']', _ => '}' });
        else if (c is ')' or ']' or '}' && (!_open.TryPop(out char expected) || expected != c))
            throw Fail($"unexpected '{c}'", at);
        Emit(TokenKind.Operator, c.ToString(), at);
        return at + 1;
    }

    private void Emit(TokenKind kind, string text, int position) => tokens.Add(new Token(kind, text, LineAt(position)));
}
