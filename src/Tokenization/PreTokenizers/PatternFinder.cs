using TpServe.Tokenization.Patterns;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>The matches of a regular expression.</summary>
internal sealed class PatternFinder(Pattern pattern) : ISpanFinder
{
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches) => pattern.FindAll(text, matches);
}
