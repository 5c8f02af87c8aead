using System.Globalization;
using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>Reads a regular expression in Oniguruma's syntax, as far as tokenizer files use it: everything but captures' values.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> naming pattern and position.
/// Source   Oniguruma 6.9, doc/RE; ^ and $ are at line ends, {n,m}+ repeats the repetition.
/// </remarks>
internal sealed class PatternParser
{
    private const int MaxCount = 100_000; // Oniguruma's own
    private static readonly PatternNode Nothing = new PatternNode.Sequence([]);

    private readonly string _source;
    private int _at;
    private int _depth;
    private PatternFlags _flags;

    private PatternParser(string source) => _source = source;

    [Flags]
    private enum PatternFlags
    {
        None = 0,
        IgnoreCase = 1,
        DotMatchesNewline = 2,
        Extended = 4,
    }

    public static PatternNode Parse(string source)
    {
        if (source.Length > TokenizerLimits.PatternCharacters)
            throw new TokenizerException($"Pattern '{Pattern.Shorten(source)}' has {source.Length} characters; the limit is {TokenizerLimits.PatternCharacters}.");
        PatternParser parser = new(source);
        PatternNode root = parser.Alternation();
        return parser._at == source.Length ? root : throw parser.Fault("an unmatched ')'");
    }

    private PatternNode Alternation()
    {
        List<PatternNode> choices = [Sequence()];
        while (TryTake('|'))
            choices.Add(Sequence());
        return choices.Count == 1 ? choices[0] : new PatternNode.Alternation(choices);
    }

    private PatternNode Sequence()
    {
        List<PatternNode> parts = [];
        while (_at < _source.Length && _source[_at] is not ('|' or ')'))
        {
            if (_flags.HasFlag(PatternFlags.Extended) && SkipBlank())
                continue;
            parts.Add(Quantified(Atom()));
        }
        return parts.Count == 1 ? parts[0] : new PatternNode.Sequence(parts);
    }

    private bool SkipBlank()
    {
        int from = _at;
        while (_at < _source.Length && (char.IsWhiteSpace(_source[_at]) || _source[_at] == '#'))
        {
            if (_source[_at] == '#')
                while (_at < _source.Length && _source[_at] != '\n')
                    _at++;
            else
                _at++;
        }
        return _at > from;
    }

    private PatternNode Quantified(PatternNode atom)
    {
        int quantifiers = 0;
        while (_at < _source.Length)
        {
            int before = _at;
            (int Min, int Max)? count = Count(out bool interval);
            if (count is not (int min, int max))
                return atom;
            if (++quantifiers > TokenizerLimits.Depth)
                throw Fault($"more than {TokenizerLimits.Depth} quantifiers on one atom");
            RepeatKind kind = RepeatKind.Greedy;
            if (TryTake('?'))
                kind = RepeatKind.Lazy;
            else if (!interval && TryTake('+'))
                kind = RepeatKind.Possessive;
            if (max < min)
                throw Fault($"the count {_source[before.._at]}");
            atom = new PatternNode.Repeat(atom, min, max, kind);
        }
        return atom;
    }

    private (int Min, int Max)? Count(out bool interval)
    {
        interval = false;
        switch (_source[_at])
        {
            case '*':
                _at++;
                return (0, int.MaxValue);
            case '+':
                _at++;
                return (1, int.MaxValue);
            case '?':
                _at++;
                return (0, 1);
            case '{':
                interval = true;
                return Interval();
            default:
                return null;
        }
    }

    // A brace that is no count is an ordinary character.
    private (int Min, int Max)? Interval()
    {
        int close = _source.IndexOf('}', _at);
        if (close < 0)
            return null;
        string[] ends = _source[(_at + 1)..close].Split(',');
        bool comma = ends.Length == 2;
        if (ends.Length > 2 || ends.Any(end => !end.All(char.IsAsciiDigit)) || (ends[0].Length == 0 && (!comma || ends[1].Length == 0)))
            return null;
        _at = close + 1;
        int min = ends[0].Length == 0 ? 0 : CountValue(ends[0]);
        int max = !comma ? min : ends[1].Length == 0 ? int.MaxValue : CountValue(ends[1]);
        return (min, max);
    }

    private int CountValue(string digits) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value <= MaxCount
            ? value
            : throw Fault($"a repetition count of {digits} (limit {MaxCount})");

    private PatternNode Atom()
    {
        switch (_source[_at])
        {
            case '(':
                return Group();
            case '[':
                return Literal(new PatternClassParser(_source, _at).Parse(out _at));
            case '.':
                _at++;
                return new PatternNode.Set(_flags.HasFlag(PatternFlags.DotMatchesNewline) ? CodePointSet.All : CodePointSet.Of('\n').Complement());
            case '^':
                _at++;
                return new PatternNode.Anchor(AnchorKind.LineStart);
            case '$':
                _at++;
                return new PatternNode.Anchor(AnchorKind.LineEnd);
            case '\\':
                return Escape();
            case '*' or '+' or '?':
                throw Fault("a quantifier with nothing to repeat");
            default:
                Rune.DecodeFromUtf16(_source.AsSpan(_at), out Rune rune, out int length);
                _at += length;
                return Literal(CodePointSet.Of(rune.Value));
        }
    }

    private PatternNode.Set Literal(CodePointSet members) => new(_flags.HasFlag(PatternFlags.IgnoreCase) ? CaseFolding.Close(members) : members);

    private PatternNode Group()
    {
        if (++_depth > TokenizerLimits.Depth)
            throw Fault($"groups nested deeper than {TokenizerLimits.Depth}");
        int open = _at++;
        PatternFlags outer = _flags;
        bool takesRest = false;
        PatternNode node = !TryTake('?') ? Alternation()
            : TryTake("#") ? Comment()
            : TryTake(":") ? Alternation()
            : TryTake("=") ? new PatternNode.Look(Alternation(), Behind: false, Negative: false)
            : TryTake("!") ? new PatternNode.Look(Alternation(), Behind: false, Negative: true)
            : TryTake(">") ? new PatternNode.Atomic(Alternation())
            : TryTake("<=") ? new PatternNode.Look(Alternation(), Behind: true, Negative: false)
            : TryTake("<!") ? new PatternNode.Look(Alternation(), Behind: true, Negative: true)
            : TryTake("<") ? NamedGroup()
            : FlagGroup(out takesRest);
        if (!takesRest && !TryTake(')'))
        {
            _at = open;
            throw Fault("a group that is not closed");
        }
        _flags = outer;
        _depth--;
        return node;
    }

    private PatternNode Comment()
    {
        while (_at < _source.Length && _source[_at] != ')')
            _at += _source[_at] == '\\' ? 2 : 1;
        _at = Math.Min(_at, _source.Length);
        return Nothing;
    }

    private PatternNode NamedGroup()
    {
        int close = _source.IndexOf('>', _at);
        if (close < 0)
            throw Fault("a group name that is not closed");
        _at = close + 1;
        return Alternation();
    }

    // (?i-m:…) holds for the group; (?i) for the rest of the group around it, which then is this node.
    private PatternNode FlagGroup(out bool takesRest)
    {
        takesRest = false;
        bool on = true;
        for (; _at < _source.Length; _at++)
        {
            PatternFlags flag = _source[_at] switch
            {
                'i' => PatternFlags.IgnoreCase,
                'm' => PatternFlags.DotMatchesNewline,
                'x' => PatternFlags.Extended,
                _ => PatternFlags.None,
            };
            if (flag != PatternFlags.None)
                _flags = on ? _flags | flag : _flags & ~flag;
            else if (_source[_at] == '-')
                on = false;
            else
                break;
        }
        if (TryTake(':'))
            return Alternation();
        if (_at >= _source.Length || _source[_at] != ')')
            throw Fault("a group of an unknown kind");
        _at++;
        takesRest = true;
        return Alternation();
    }

    private PatternNode Escape()
    {
        if (_at + 1 >= _source.Length)
            throw Fault("a backslash at the end");
        AnchorKind? anchor = _source[_at + 1] switch
        {
            'A' => AnchorKind.TextStart,
            'z' => AnchorKind.TextEnd,
            'Z' => AnchorKind.TextEndOrLastNewline,
            'b' => AnchorKind.WordBoundary,
            'B' => AnchorKind.NotWordBoundary,
            _ => null,
        };
        if (anchor is AnchorKind kind)
        {
            _at += 2;
            return new PatternNode.Anchor(kind);
        }
        if (_source[_at + 1] == 'R')
        {
            _at += 2;
            PatternNode crlf = new PatternNode.Sequence([new PatternNode.Set(CodePointSet.Of('\r')), new PatternNode.Set(CodePointSet.Of('\n'))]);
            return new PatternNode.Atomic(new PatternNode.Alternation([crlf, new PatternNode.Set(CodePointSet.Parse("000A-000D 0085 2028-2029"))]));
        }
        return Literal(PatternEscape.Read(_source, ref _at));
    }

    private bool TryTake(char wanted)
    {
        if (_at >= _source.Length || _source[_at] != wanted)
            return false;
        _at++;
        return true;
    }

    private bool TryTake(string wanted)
    {
        if (!_source.AsSpan(_at).StartsWith(wanted, StringComparison.Ordinal))
            return false;
        _at += wanted.Length;
        return true;
    }

    private TokenizerException Fault(string what) => new($"Pattern '{Pattern.Shorten(_source)}' has {what} at character {_at}.");
}
