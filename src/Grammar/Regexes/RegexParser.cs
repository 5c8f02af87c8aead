using System.Globalization;
using System.Text;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Syntax;

namespace TpServe.Grammar.Regexes;

/// <summary>Reads the regular part of ECMAScript's patterns in Unicode mode; what is not regular is refused by name.</summary>
/// <remarks>
/// Errors   <see cref="GrammarException"/>: Invalid for what is malformed, NotServed for lookaround, references, word boundaries, flags and scripts.
/// Source   ECMA-262, "Patterns". \d, \w, \s and their negations hold what they hold in ECMAScript, Python and .NET alike, so that whoever validates agrees;
///          the dot leaves out line ends (only \n in whole-match patterns).
/// </remarks>
internal sealed class RegexParser
{
    private static readonly CharSet Digits = CharSet.Of('0', '9');
    private static readonly CharSet Word = CharSet.Of([('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]);
    private static readonly CharSet Space = CharSet.Of([(9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]);

    // What any of the dialects counts in: only the rest is surely outside.
    private static readonly Lazy<CharSet> WideDigits = new(() => Digits.Union(UnicodeCategories.Find("N")!));
    private static readonly Lazy<CharSet> WideWord = new(() => Word.Union(WideDigits.Value).Union(UnicodeCategories.Find("L")!).Union(UnicodeCategories.Find("M")!).Union(UnicodeCategories.Find("Pc")!).Union(CharSet.Of(0x200C, 0x200D)));
    private static readonly Lazy<CharSet> WideSpace = new(() => Space.Union(CharSet.Of([(0x1C, 0x1F), (0x85, 0x85), (0x180E, 0x180E), (0xFEFF, 0xFEFF)])));

    private readonly int[] _text;
    private readonly CompileBudget _budget;
    private readonly string _place;
    private readonly CharSet _dot;
    private readonly bool _wide;
    private int _at;
    private int _depth;

    private RegexParser(string pattern, CompileBudget budget, string place, bool dotIsEcma, bool wide)
    {
        if (pattern.Length > budget.Limits.TextChars)
            throw GrammarException.Limit("characters of a pattern", budget.Limits.TextChars, place);
        _text = [.. pattern.EnumerateRunes().Select(rune => rune.Value)];
        _budget = budget;
        _place = place;
        _wide = wide;
        _dot = CharSet.Of(dotIsEcma && !wide ? "\n\r\u2028\u2029" : "\n").Negate();
    }

    /// <summary>A pattern's tree. Wide: where dialects differ, everything that any of them matches; else what all of them do.</summary>
    public static SyntaxNode Parse(string pattern, CompileBudget budget, string place, bool dotIsEcma, bool wide = false)
    {
        RegexParser parser = new(pattern, budget, place, dotIsEcma, wide);
        SyntaxNode tree = parser.Choice();
        if (parser._at < parser._text.Length)
            throw parser.Invalid("a ')' closes nothing");
        return tree;
    }

    private SyntaxNode Choice()
    {
        if (++_depth > _budget.Limits.Depth)
            throw GrammarException.Limit("nested groups of a pattern", _budget.Limits.Depth, _place);
        List<SyntaxNode> options = [Sequence()];
        while (Take('|'))
            options.Add(Sequence());
        _depth--;
        return options.Count == 1 ? options[0] : new SyntaxNode.Choice(options);
    }

    private SyntaxNode Sequence()
    {
        List<SyntaxNode> parts = [];
        while (_at < _text.Length && _text[_at] is not ('|' or ')'))
            parts.Add(Quantified());
        return SyntaxNode.Of(parts);
    }

    private SyntaxNode Quantified()
    {
        _budget.Spend(1);
        SyntaxNode atom = Atom();
        if (_at >= _text.Length)
            return atom;
        (int Min, int? Max)? count = _text[_at] switch
        {
            '*' => (0, null),
            '+' => (1, null),
            '?' => (0, 1),
            _ => null,
        };
        if (count is not null)
            _at++;
        else if (_text[_at] == '{')
            count = Count();
        if (count is not (int min, var max))
            return atom;
        if (atom is SyntaxNode.TextBegin or SyntaxNode.TextEnd)
            throw Invalid("a quantifier has nothing to repeat");
        Take('?'); // lazy: the same texts
        if (_at < _text.Length && _text[_at] is '*' or '+' or '?')
            throw NotServed("possessive or doubled quantifier");
        return new SyntaxNode.Repeat(atom, min, max);
    }

    // {m}, {m,}, {m,n}; anything else is a brace that stands for itself.
    private (int Min, int? Max)? Count()
    {
        int start = _at++;
        if (Number() is int min)
        {
            int? max = min;
            if (Take(','))
                max = Number();
            if (Take('}'))
            {
                if (max < min)
                    throw Invalid($"the count {{{min},{max}}} is out of order");
                if (Math.Max(min, max ?? 0) > _budget.Limits.Repeat)
                    throw GrammarException.Limit("count of a quantifier", _budget.Limits.Repeat, _place);
                return (min, max);
            }
        }
        _at = start;
        return null;
    }

    private int? Number()
    {
        long value = 0;
        int start = _at;
        for (; _at < _text.Length && _text[_at] is >= '0' and <= '9'; _at++)
            value = Math.Min(value * 10 + _text[_at] - '0', int.MaxValue);
        return _at == start ? null : (int)value;
    }

    private SyntaxNode Atom()
    {
        int c = _text[_at++];
        switch (c)
        {
            case '(':
                return Group();
            case '[':
                return new SyntaxNode.Chars(Class());
            case '.':
                return new SyntaxNode.Chars(_dot);
            case '^':
                return new SyntaxNode.TextBegin();
            case '$':
                return new SyntaxNode.TextEnd();
            case '\\':
                return new SyntaxNode.Chars(Escape(inClass: false));
            case '*' or '+' or '?':
                throw Invalid("a quantifier has nothing to repeat");
            case '{' when CountFollows():
                throw Invalid("a quantifier has nothing to repeat");
            default:
                return new SyntaxNode.Chars(CharSet.Of(c, c));
        }
    }

    private bool CountFollows()
    {
        int here = _at--;
        bool follows = Count() is not null;
        _at = here;
        return follows;
    }

    private SyntaxNode Group()
    {
        if (Take('?'))
        {
            int kind = _at < _text.Length ? _text[_at++] : -1;
            bool named = kind == '<' && _at < _text.Length && _text[_at] is not ('=' or '!');
            while (named && !Take('>'))
                if (_at >= _text.Length || !(Rune.IsLetterOrDigit(new Rune(_text[_at])) || _text[_at] == '_'))
                    throw Invalid("a group's name does not end");
                else
                    _at++;
            if (kind is '=' or '!' || (kind == '<' && !named))
                throw NotServed("lookaround");
            if (kind != ':' && !named)
                throw NotServed("flags or special group");
        }
        SyntaxNode inner = Choice();
        return Take(')') ? inner : throw Invalid("a '(' is not closed");
    }

    private CharSet Class()
    {
        bool negated = Take('^');
        if (_at < _text.Length && _text[_at] == ']')
            throw NotServed("empty class");
        List<(int, int)> ranges = [];
        while (true)
        {
            if (_at >= _text.Length)
                throw Invalid("a '[' is not closed");
            if (Take(']'))
                break;
            _budget.Spend(1);
            CharSet first = ClassAtom(negated);
            bool isRange = _at + 1 < _text.Length && _text[_at] == '-' && _text[_at + 1] != ']';
            if (!isRange)
            {
                ranges.AddRange(first.Ranges);
                continue;
            }
            _at++;
            if (_text[_at] == '[')
                throw NotServed("class subtraction");
            CharSet last = ClassAtom(negated);
            if (!IsSingle(first) || !IsSingle(last) || last.Ranges[0].Lo < first.Ranges[0].Lo)
                throw Invalid("a range of a class is out of order");
            ranges.Add((first.Ranges[0].Lo, last.Ranges[0].Lo));
        }
        CharSet set = CharSet.Of(ranges).Intersect(CharSet.All);
        return negated ? set.Negate() : set;
    }

    private CharSet ClassAtom(bool negated)
    {
        int c = _text[_at++];
        return c == '\\' ? Escape(inClass: true, negated) : CharSet.Of(c, c);
    }

    private static bool IsSingle(CharSet set) => set.Ranges is [var only] && only.Lo == only.Hi;

    // In a negated class the wide sets are taken, so that their complement is narrow.
    private CharSet Escape(bool inClass, bool negated = false)
    {
        if (_at >= _text.Length)
            throw Invalid("it ends in a backslash");
        int c = _text[_at++];
        return c switch
        {
            'd' => negated != _wide ? WideDigits.Value : Digits,
            'D' => (negated != _wide ? Digits : WideDigits.Value).Negate(),
            'w' => negated != _wide ? WideWord.Value : Word,
            'W' => (negated != _wide ? Word : WideWord.Value).Negate(),
            's' => negated != _wide ? WideSpace.Value : Space,
            'S' => (negated != _wide ? Space : WideSpace.Value).Negate(),
            'p' or 'P' => Property(complement: c == 'P'),
            't' => Single('\t'),
            'n' => Single('\n'),
            'r' => Single('\r'),
            'f' => Single('\f'),
            'v' => Single('\v'),
            'b' when inClass => Single('\b'),
            'b' or 'B' => throw NotServed("word boundary"),
            'x' => Single(Hex(2)),
            'u' => Single(UnicodeEscape()),
            'c' when _at < _text.Length && _text[_at] is (>= 'a' and <= 'z') or (>= 'A' and <= 'Z') => Single(_text[_at++] & 31),
            '0' when _at >= _text.Length || _text[_at] is < '0' or > '9' => Single(0),
            >= '0' and <= '9' or 'k' => throw NotServed("back reference"),
            '-' or '_' => Single(c),
            _ when c < 128 && char.IsAsciiLetterOrDigit((char)c) => throw NotServed($"escape \\{(char)c}"),
            _ => Single(c),
        };
    }

    private static CharSet Single(int c) => CharSet.Of(c, c);

    private int UnicodeEscape()
    {
        if (Take('{'))
        {
            int value = 0, digits = 0;
            for (; _at < _text.Length && _text[_at] < 128 && char.IsAsciiHexDigit((char)_text[_at]); digits++)
                value = Math.Min(value * 16 + Convert.ToInt32(((char)_text[_at++]).ToString(), 16), CharSet.LastCodePoint + 1);
            if (digits == 0 || value > CharSet.LastCodePoint || !Take('}'))
                throw Invalid("\\u{…} names no character");
            return value;
        }
        int first = Hex(4);
        if (!char.IsHighSurrogate((char)first) || _at + 1 >= _text.Length || _text[_at] != '\\' || _text[_at + 1] != 'u')
            return first;
        int here = _at;
        _at += 2;
        int second = Hex(4);
        if (char.IsLowSurrogate((char)second))
            return char.ConvertToUtf32((char)first, (char)second);
        _at = here;
        return first;
    }

    private int Hex(int digits)
    {
        int value = 0;
        for (int i = 0; i < digits; i++)
        {
            if (_at >= _text.Length || _text[_at] >= 128 || !char.IsAsciiHexDigit((char)_text[_at]))
                throw Invalid($"an escape needs {digits} hexadecimal digits");
            value = value * 16 + int.Parse(((char)_text[_at++]).ToString(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }
        return value;
    }

    private CharSet Property(bool complement)
    {
        StringBuilder name = new();
        if (!Take('{'))
            throw Invalid("\\p needs {a name}");
        while (!Take('}'))
        {
            if (_at >= _text.Length)
                throw Invalid("\\p{ does not end");
            name.Append(new Rune(_text[_at++]).ToString());
        }
        CharSet set = UnicodeCategories.Find(name.ToString()) ?? throw NotServed($"property \\p{{{name}}}");
        return complement ? set.Negate() : set;
    }

    private bool Take(char wanted)
    {
        if (_at >= _text.Length || _text[_at] != wanted)
            return false;
        _at++;
        return true;
    }

    private string Place => _place.Length == 0 ? $"line 1, column {_at}" : _place;

    private GrammarException Invalid(string reason) => new(GrammarErrorKind.Invalid, "pattern", Place, $"{reason} (character {_at})");

    private GrammarException NotServed(string what) => new(GrammarErrorKind.NotServed, "pattern", Place, $"a {what} is not served (character {_at})");
}
