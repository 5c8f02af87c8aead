using System.Text;
using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Cuts at delimiters: Split, Digits, Punctuation, Whitespace and their like.</summary>
/// <param name="finder">Finds the delimiters.</param>
/// <param name="behavior">What becomes of them.</param>
/// <param name="invert">True where what lies between the matches is the delimiter.</param>
internal sealed class SplitPreTokenizer(ISpanFinder finder, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    private readonly record struct Span(int Start, int End, bool IsDelimiter);

    public void Split(TextPiece piece, List<TextPiece> parts)
    {
        List<(int Start, int End)> matches = [];
        finder.FindAll(piece.Span, matches);
        if (matches.Count == 0 && !invert)
        {
            parts.Add(piece);
            return;
        }
        List<Span> spans = Cover(matches, piece.Length);
        switch (behavior)
        {
            case SplitBehavior.Removed:
                spans.RemoveAll(span => span.IsDelimiter);
                break;
            case SplitBehavior.Isolated:
                break;
            case SplitBehavior.Contiguous:
                spans = Merge(spans, (last, span) => last.IsDelimiter == span.IsDelimiter);
                break;
            case SplitBehavior.MergedWithPrevious:
                spans = Merge(spans, (last, span) => span.IsDelimiter && !last.IsDelimiter);
                break;
            case SplitBehavior.MergedWithNext:
                spans.Reverse();
                spans = Merge(spans, (last, span) => span.IsDelimiter && !last.IsDelimiter);
                spans.Reverse();
                break;
        }
        foreach (Span span in spans)
            if (span.End > span.Start)
                parts.Add(piece.Part(span.Start, span.End));
    }

    // Matches and the gaps between them, which together are the text.
    private List<Span> Cover(List<(int Start, int End)> matches, int length)
    {
        List<Span> spans = new((matches.Count * 2) + 1);
        int last = 0;
        foreach ((int start, int end) in matches)
        {
            if (start > last)
                spans.Add(new(last, start, invert));
            spans.Add(new(start, end, !invert));
            last = end;
        }
        if (length > last)
            spans.Add(new(last, length, invert));
        return spans;
    }

    // joins asks about a span and its neighbour as they were found, not as they were merged: of several delimiters in a row only one joins.
    private static List<Span> Merge(List<Span> spans, Func<Span, Span, bool> joins)
    {
        List<Span> merged = [];
        Span? previous = null;
        foreach (Span span in spans)
        {
            if (previous is Span last && joins(last, span))
            {
                Span whole = merged[^1];
                merged[^1] = whole with { Start = Math.Min(whole.Start, span.Start), End = Math.Max(whole.End, span.End) };
            }
            else
            {
                merged.Add(span);
            }
            previous = span;
        }
        return merged;
    }
}

/// <summary>What becomes of the delimiters of a Split.</summary>
internal enum SplitBehavior
{
    /// <summary>They are dropped.</summary>
    Removed,

    /// <summary>Each is a piece.</summary>
    Isolated,

    /// <summary>Each ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>Each begins the piece after it.</summary>
    MergedWithNext,

    /// <summary>Neighbouring ones are one piece.</summary>
    Contiguous,
}

/// <summary>Finds the delimiters of a Split.</summary>
internal interface ISpanFinder
{
    /// <summary>Appends the delimiters in order, none overlapping.</summary>
    void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches);
}

/// <summary>The matches of a regular expression.</summary>
internal sealed class PatternFinder(Pattern pattern) : ISpanFinder
{
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches) => pattern.FindAll(text, matches);
}

/// <summary>The occurrences of a fixed text, which is not empty.</summary>
internal sealed class LiteralFinder(string literal) : ISpanFinder
{
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches)
    {
        for (int from = 0; ;)
        {
            int found = text[from..].IndexOf(literal, StringComparison.Ordinal);
            if (found < 0)
                return;
            matches.Add((from + found, from + found + literal.Length));
            from += found + literal.Length;
        }
    }
}

/// <summary>Every single code point of a class.</summary>
internal sealed class ClassFinder(CodePointSet members) : ISpanFinder
{
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches)
    {
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out Rune rune, out int length);
            if (members.Contains(rune.Value))
                matches.Add((at, at + length));
            at += length;
        }
    }
}
