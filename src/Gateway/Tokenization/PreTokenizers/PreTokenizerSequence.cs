namespace TpServe.Gateway.Tokenization.PreTokenizers;

/// <summary>Several pre-tokenizers; each cuts the pieces of the one before.</summary>
internal sealed class PreTokenizerSequence(IReadOnlyList<IPreTokenizer> steps) : IPreTokenizer
{
    public void Split(TextPiece piece, List<TextPiece> parts)
    {
        List<TextPiece> current = [piece], next = [];
        foreach (IPreTokenizer step in steps)
        {
            next.Clear();
            foreach (TextPiece part in current)
                step.Split(part, next);
            (current, next) = (next, current);
        }
        parts.AddRange(current);
    }
}
