using System.Globalization;
using System.Text;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Syntax;

namespace TpServe.Grammar.Gbnf;

/// <summary>A rule by its name, with the place where it is defined; no tree = it is only used.</summary>
internal sealed record GbnfRule(string Name, string Place)
{
    public SyntaxNode? Body { get; set; }
}

/// <summary>Reads llama.cpp's grammar notation: rules of literals, classes, groups, repetitions, and calls of rules.</summary>
/// <remarks>
/// A rule ends at a line's end outside of parentheses, unless the next line goes on with '|'.
/// Errors   <see cref="GrammarException"/> (Invalid, Limit) with line and column.
/// Source   the notation's description in llama.cpp, grammars/README.md.
/// </remarks>
internal sealed class GbnfParser
{
    private readonly string _text;
    private readonly CompileBudget _budget;
    private readonly Dictionary<string, int> _numbers = [];
    private int _at;
    private int _depth;

    private GbnfParser(string text, CompileBudget budget)
    {
        if (text.Length > budget.Limits.TextChars)
            throw GrammarException.Limit("characters of a grammar", budget.Limits.TextChars);
        _text = text;
        _budget = budget;
    }

    private List<GbnfRule> Rules { get; } = [];

    public static IReadOnlyList<GbnfRule> Parse(string text, CompileBudget budget)
    {
        GbnfParser parser = new(text, budget);
        parser.SkipSpace(lines: true);
        while (parser._at < text.Length)
        {
            parser.Rule();
            parser.SkipSpace(lines: true);
        }
        foreach (GbnfRule rule in parser.Rules)
            if (rule.Body is null)
                throw new GrammarException(GrammarErrorKind.Invalid, rule.Name, rule.Place, "the rule is used and not defined");
        return parser.Rules;
    }

    private void Rule()
    {
        string place = Place;
        string name = Name() ?? throw Invalid("a rule's name is expected");
        SkipSpace(lines: false);
        if (!Take("::="))
            throw Invalid("'::=' is expected");
        SkipSpace(lines: true);
        GbnfRule rule = Rules[NumberOf(name, place)];
        if (rule.Body is not null)
            throw new GrammarException(GrammarErrorKind.Invalid, name, place, "the rule is defined twice");
        rule.Body = Choice(nested: false);
        if (_at < _text.Length && _text[_at] is not ('\n' or '\r'))
            throw Invalid($"'{_text[_at]}' is not expected");
    }

    private SyntaxNode Choice(bool nested)
    {
        if (++_depth > _budget.Limits.Depth)
            throw GrammarException.Limit("nested groups of a grammar", _budget.Limits.Depth, Place);
        List<SyntaxNode> options = [Sequence(nested)];
        while (NextOption())
        {
            SkipSpace(lines: true);
            options.Add(Sequence(nested));
        }
        _depth--;
        return options.Count == 1 ? options[0] : new SyntaxNode.Choice(options);
    }

    // '|', also on a later line; where there is none the place stays at the line's end.
    private bool NextOption()
    {
        int here = _at;
        SkipSpace(lines: true);
        if (Take("|"))
            return true;
        _at = here;
        return false;
    }

    private SyntaxNode Sequence(bool nested)
    {
        List<SyntaxNode> parts = [];
        while (true)
        {
            SkipSpace(lines: nested);
            if (_at >= _text.Length || _text[_at] is '|' or ')' or '\n' or '\r')
                return SyntaxNode.Of(parts);
            parts.Add(Repeated(Atom()));
        }
    }

    private SyntaxNode Atom()
    {
        _budget.Spend(1);
        string place = Place;
        if (Take("\""))
            return Literal();
        if (Take("["))
            return new SyntaxNode.Chars(Class());
        if (Take("."))
            return new SyntaxNode.Chars(CharSet.All);
        if (Take("("))
        {
            SyntaxNode inner = Choice(nested: true);
            SkipSpace(lines: true);
            return Take(")") ? inner : throw Invalid("a '(' is not closed");
        }
        if (_text[_at] is '<' or '!')
            throw new GrammarException(GrammarErrorKind.NotServed, "token", place, "tokens in a grammar are not served");
        return new SyntaxNode.Call(NumberOf(Name() ?? throw Invalid($"'{_text[_at]}' is not expected"), place));
    }

    private SyntaxNode Repeated(SyntaxNode atom)
    {
        int repeats = 0;
        while (_at < _text.Length)
        {
            if (Take("*"))
                atom = new SyntaxNode.Repeat(atom, 0, null);
            else if (Take("+"))
                atom = new SyntaxNode.Repeat(atom, 1, null);
            else if (Take("?"))
                atom = new SyntaxNode.Repeat(atom, 0, 1);
            else if (Take("{"))
                atom = Counted(atom);
            else
                break;
            if (++repeats > _budget.Limits.Depth)
                throw GrammarException.Limit("repetitions of repetitions", _budget.Limits.Depth, Place);
        }
        return atom;
    }

    private SyntaxNode.Repeat Counted(SyntaxNode atom)
    {
        SkipSpace(lines: true);
        int min = Number() ?? throw Invalid("a count is expected");
        int? max = min;
        SkipSpace(lines: true);
        if (Take(","))
        {
            SkipSpace(lines: true);
            max = Number();
            SkipSpace(lines: true);
        }
        if (!Take("}"))
            throw Invalid("'}' is expected");
        if (max < min)
            throw Invalid($"the count {{{min},{max}}} is out of order");
        if (Math.Max(min, max ?? 0) > _budget.Limits.Repeat)
            throw GrammarException.Limit("count of a repetition", _budget.Limits.Repeat, Place);
        return new SyntaxNode.Repeat(atom, min, max);
    }

    private int? Number()
    {
        long value = 0;
        int start = _at;
        for (; _at < _text.Length && char.IsAsciiDigit(_text[_at]); _at++)
            value = Math.Min(value * 10 + _text[_at] - '0', int.MaxValue);
        return start == _at ? null : (int)value;
    }

    private SyntaxNode Literal()
    {
        List<SyntaxNode> characters = [];
        while (!Take("\""))
        {
            _budget.Spend(1);
            int c = Character();
            characters.Add(new SyntaxNode.Chars(CharSet.Of(c, c)));
        }
        return SyntaxNode.Of(characters);
    }

    private CharSet Class()
    {
        bool negated = Take("^");
        List<(int, int)> ranges = [];
        while (!Take("]"))
        {
            _budget.Spend(1);
            int lo = Character(), hi = lo;
            if (_at + 1 < _text.Length && _text[_at] == '-' && _text[_at + 1] != ']')
            {
                _at++;
                hi = Character();
            }
            if (hi < lo)
                throw Invalid("a range of a class is out of order");
            ranges.Add((lo, hi));
        }
        CharSet set = CharSet.Of(ranges).Intersect(CharSet.All);
        return negated ? set.Negate() : set;
    }

    private int Character()
    {
        if (_at >= _text.Length)
            throw Invalid("a literal or class does not end");
        if (_text[_at] != '\\')
        {
            Rune.DecodeFromUtf16(_text.AsSpan(_at), out Rune rune, out int length);
            _at += length;
            return rune.Value;
        }
        _at++;
        char kind = _at < _text.Length ? _text[_at++] : '\0';
        return kind switch
        {
            'x' => Hex(2),
            'u' => Hex(4),
            'U' => Hex(8),
            't' => '\t',
            'r' => '\r',
            'n' => '\n',
            '\\' or '"' or '[' or ']' or '^' or '-' => kind,
            _ => throw Invalid($"the escape \\{kind} is not known"),
        };
    }

    private int Hex(int digits)
    {
        if (_at + digits > _text.Length || !int.TryParse(_text.AsSpan(_at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || !Rune.IsValid(value))
            throw Invalid($"an escape needs {digits} hexadecimal digits of a character");
        _at += digits;
        return value;
    }

    private int NumberOf(string name, string place)
    {
        if (!_numbers.TryGetValue(name, out int number))
        {
            _budget.AddStates(1);
            _numbers.Add(name, number = Rules.Count);
            Rules.Add(new GbnfRule(name, place));
        }
        return number;
    }

    private string? Name()
    {
        int start = _at;
        while (_at < _text.Length && (char.IsAsciiLetterOrDigit(_text[_at]) || _text[_at] is '-' or '_'))
            _at++;
        return start == _at ? null : _text[start.._at];
    }

    private void SkipSpace(bool lines)
    {
        for (; _at < _text.Length; _at++)
        {
            if (_text[_at] == '#')
                while (_at + 1 < _text.Length && _text[_at + 1] is not ('\n' or '\r'))
                    _at++;
            else if (!(_text[_at] is ' ' or '\t' || (lines && _text[_at] is '\n' or '\r')))
                return;
        }
    }

    private bool Take(string wanted)
    {
        if (string.CompareOrdinal(_text, _at, wanted, 0, wanted.Length) != 0)
            return false;
        _at += wanted.Length;
        return true;
    }

    private string Place
    {
        get
        {
            int line = 1, column = 1;
            foreach (char c in _text.AsSpan(0, Math.Min(_at, _text.Length)))
                (line, column) = c == '\n' ? (line + 1, 1) : (line, column + 1);
            return $"line {line}, column {column}";
        }
    }

    private GrammarException Invalid(string reason) => new(GrammarErrorKind.Invalid, "grammar", Place, reason);
}
