namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Writes spaces as a visible mark, U+2581 as a rule, puts one in front, and cuts before each mark.</summary>
internal sealed class MetaspacePreTokenizer(char mark, PrependScheme scheme, bool split) : IPreTokenizer
{
    private readonly SplitPreTokenizer _split = new(new LiteralFinder(mark.ToString()), SplitBehavior.MergedWithNext, invert: false);

    public void Split(TextPiece piece, List<TextPiece> parts)
    {
        string text = piece.Span.ToString().Replace(' ', mark);
        bool prepends = scheme == PrependScheme.Always || (scheme == PrependScheme.First && piece.AtOrigin);
        if (prepends && !text.StartsWith(mark))
            text = mark + text;
        TextPiece marked = new(text, 0, text.Length, piece.AtOrigin);
        if (split)
            _split.Split(marked, parts);
        else
            parts.Add(marked);
    }
}
