using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>Reads one bracket expression: ranges, escapes, POSIX names, nested brackets and &amp;&amp;.</summary>
internal sealed class PatternClassParser(string source, int at)
{
    private int _at = at;
    private int _depth;

    /// <summary>The set; end is the position after the closing bracket.</summary>
    public CodePointSet Parse(out int end)
    {
        CodePointSet set = Brackets();
        end = _at;
        return set;
    }

    private CodePointSet Brackets()
    {
        if (++_depth > TokenizerLimits.Depth)
            throw Fault($"brackets nested deeper than {TokenizerLimits.Depth}");
        int open = _at++;
        bool negative = TryTake("^");
        CodePointSet? left = null; // what stands before the last &&
        List<CodePointSet> members = [];
        for (bool first = true; ; first = false)
        {
            if (_at >= source.Length)
            {
                _at = open;
                throw Fault("a bracket that is not closed");
            }
            if (source[_at] == ']' && !(first && source.IndexOf(']', _at + 1) > 0))
                break;
            if (TryTake("&&"))
            {
                left = Join(left, members);
                members = [];
            }
            else
            {
                members.Add(Member());
            }
        }
        _at++;
        _depth--;
        CodePointSet set = Join(left, members);
        return negative ? set.Complement() : set;
    }

    private static CodePointSet Join(CodePointSet? left, List<CodePointSet> members)
    {
        CodePointSet right = CodePointSet.FromRanges(members.SelectMany(member => member.Ranges));
        return left is null ? right : left.Intersect(right);
    }

    private CodePointSet Member()
    {
        if (TryTake("[:"))
            return Posix();
        if (source[_at] == '[')
            return Brackets();
        CodePointSet low = One();
        // A hyphen makes a range between two single characters; first, last or beside a class it is itself.
        if (low.Single is not int first || _at + 1 >= source.Length || source[_at] != '-' || source[_at + 1] == ']')
            return low;
        int hyphen = _at++;
        if (source[_at] == '[' || One().Single is not int last)
        {
            _at = hyphen;
            return low;
        }
        return first <= last ? CodePointSet.Range(first, last) : throw Fault($"a range from U+{first:X4} down to U+{last:X4}");
    }

    private CodePointSet One()
    {
        if (source[_at] == '\\')
        {
            if (_at + 1 < source.Length && source[_at + 1] == 'b')
            {
                _at += 2;
                return CodePointSet.Of('\b');
            }
            return PatternEscape.Read(source, ref _at);
        }
        Rune.DecodeFromUtf16(source.AsSpan(_at), out Rune rune, out int length);
        _at += length;
        return CodePointSet.Of(rune.Value);
    }

    private CodePointSet Posix()
    {
        bool negative = TryTake("^");
        int close = source.IndexOf(":]", _at, StringComparison.Ordinal);
        string name = close < 0 ? "" : source[_at..close];
        if (name.Length == 0 || UnicodeClasses.Property(name) is not CodePointSet set)
            throw Fault($"the POSIX class '{Pattern.Shorten(name)}', which is not known");
        _at = close + 2;
        return negative ? set.Complement() : set;
    }

    private bool TryTake(string wanted)
    {
        if (!source.AsSpan(_at).StartsWith(wanted, StringComparison.Ordinal))
            return false;
        _at += wanted.Length;
        return true;
    }

    private TokenizerException Fault(string what) => new($"Pattern '{Pattern.Shorten(source)}' has {what} at character {_at}.");
}
