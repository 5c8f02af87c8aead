namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Finds the delimiters of a Split.</summary>
internal interface ISpanFinder
{
    /// <summary>Appends the delimiters in order, none overlapping.</summary>
    void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches);
}
