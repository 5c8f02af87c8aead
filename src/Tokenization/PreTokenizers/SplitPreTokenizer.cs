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

    public bool KeepsText => behavior != SplitBehavior.Removed;

    public bool Split(TextPiece piece, PieceTaker take)
    {
        if (behavior is SplitBehavior.Removed or SplitBehavior.Isolated)
            return Cover(piece, span => span.End == span.Start || (span.IsDelimiter && !KeepsText) || take(piece.Part(span.Start, span.End)));

        // What becomes of a delimiter depends on its neighbours: all are found first.
        List<Span> spans = [];
        Cover(piece, span =>
        {
            spans.Add(span);
            return true;
        });
        switch (behavior)
        {
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
            if (span.End > span.Start && !take(piece.Part(span.Start, span.End)))
                return false;
        return true;
    }

    // Matches and the gaps between them, which together are the text.
    private bool Cover(TextPiece piece, Func<Span, bool> give)
    {
        int last = 0;
        bool all = finder.FindAll(piece.Span, (start, end) =>
        {
            if (start > last && !give(new(last, start, invert)))
                return false;
            last = end;
            return give(new(start, end, !invert));
        });
        return all && (last >= piece.Length || give(new(last, piece.Length, invert)));
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
    /// <summary>Gives the delimiters to the taker, in order, none overlapping, until it wants no more. False where it did not want all.</summary>
    bool FindAll(ReadOnlySpan<char> text, SpanTaker take);
}

/// <summary>Takes a stretch; false = no further one is wanted.</summary>
internal delegate bool SpanTaker(int start, int end);

/// <summary>The matches of a regular expression.</summary>
internal sealed class PatternFinder(Pattern pattern) : ISpanFinder
{
    public bool FindAll(ReadOnlySpan<char> text, SpanTaker take) => pattern.FindAll(text, take);
}

/// <summary>The occurrences of a fixed text, which is not empty.</summary>
internal sealed class LiteralFinder(string literal) : ISpanFinder
{
    public bool FindAll(ReadOnlySpan<char> text, SpanTaker take)
    {
        for (int from = 0; ;)
        {
            int found = text[from..].IndexOf(literal, StringComparison.Ordinal);
            if (found < 0)
                return true;
            if (!take(from + found, from + found + literal.Length))
                return false;
            from += found + literal.Length;
        }
    }
}

/// <summary>Every single code point of a class.</summary>
internal sealed class ClassFinder(CodePointSet members) : ISpanFinder
{
    public bool FindAll(ReadOnlySpan<char> text, SpanTaker take)
    {
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out Rune rune, out int length);
            if (members.Contains(rune.Value) && !take(at, at + length))
                return false;
            at += length;
        }
        return true;
    }
}
