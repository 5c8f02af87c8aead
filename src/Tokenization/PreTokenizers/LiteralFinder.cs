namespace TpServe.Tokenization.PreTokenizers;

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
