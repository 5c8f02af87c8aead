using System.Text;
using TpServe.Tokenization.PreTokenizers;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>A compiled regular expression with the meaning it has in a tokenizer file: Oniguruma's, by code points, with Unicode 16 classes.</summary>
/// <remarks>
/// Threads  immutable; any thread.
/// Errors   <see cref="TokenizerException"/> for what is malformed or not supported (backreferences, \X, unknown properties), and while
///          matching where a pattern backtracks without bound. System.Text.RegularExpressions does neither: its classes end at U+FFFF.
/// </remarks>
internal sealed class Pattern
{
    private readonly PatternInstruction[] _code;
    private readonly string _source;

    private Pattern(PatternNode root, string source)
    {
        _source = source;
        MayBeEmpty = root.MayBeEmpty;
        (_code, Slots) = PatternCompiler.Compile(root, source);
    }

    /// <summary>\w, for word boundaries.</summary>
    public static CodePointSet Word { get; } = UnicodeClasses.PatternWord;

    public ReadOnlySpan<PatternInstruction> Code => _code;

    public int Slots { get; }

    /// <summary>True where a match may have no characters.</summary>
    public bool MayBeEmpty { get; }

    /// <summary>The source, short enough for a message.</summary>
    public string Shortened => Shorten(_source);

    public static Pattern Parse(string source) => new(PatternParser.Parse(source), source);

    public static Pattern FromNode(PatternNode root, string name) => new(root, name);

    public static string Shorten(string text) => text.Length <= 60 ? text : string.Concat(text.AsSpan(0, 57), "...");

    /// <summary>Appends every match from left to right, none overlapping; an empty match never touches the end of the match before it.</summary>
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches) => FindAll(text, (start, end) =>
    {
        matches.Add((start, end));
        return true;
    });

    /// <summary>The same, given to the taker one by one until it wants no more. False where it did not want all.</summary>
    public bool FindAll(ReadOnlySpan<char> text, SpanTaker take)
    {
        PatternMatcher matcher = new(this, text);
        try
        {
            int lastEnd = -1;
            for (int at = 0; at <= text.Length;)
            {
                int end = matcher.MatchAt(at);
                bool found = end >= 0 && !(end == at && at == lastEnd);
                if (found)
                {
                    if (!take(at, end))
                        return false;
                    lastEnd = end;
                }
                at = found && end > at ? end : Next(text, at);
            }
            return true;
        }
        finally
        {
            matcher.Dispose();
        }
    }

    /// <summary>The text with every match replaced.</summary>
    public string Replace(string text, string replacement)
    {
        List<(int Start, int End)> matches = [];
        FindAll(text, matches);
        if (matches.Count == 0)
            return text;
        GrowthLimit.Check(text.Length, text.Length + ((long)matches.Count * replacement.Length) - matches.Sum(match => (long)match.End - match.Start), "Replace");
        StringBuilder builder = new(text.Length);
        int last = 0;
        foreach ((int start, int end) in matches)
        {
            builder.Append(text, last, start - last).Append(replacement);
            last = end;
        }
        return builder.Append(text, last, text.Length - last).ToString();
    }

    private static int Next(ReadOnlySpan<char> text, int at) =>
        at + 1 < text.Length && char.IsHighSurrogate(text[at]) && char.IsLowSurrogate(text[at + 1]) ? at + 2 : at + 1;
}
