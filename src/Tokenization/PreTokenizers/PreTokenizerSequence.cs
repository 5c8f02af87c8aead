namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Several pre-tokenizers; each cuts the pieces of the one before.</summary>
internal sealed class PreTokenizerSequence(IReadOnlyList<IPreTokenizer> steps) : IPreTokenizer
{
    public void Split(TextPiece piece, List<TextPiece> parts)
    {
        List<TextPiece> current = [piece], next = [];
        foreach (IPreTokenizer step in steps)
        {
            next.Clear();
            long length = 0;
            foreach (TextPiece part in current)
            {
                int from = next.Count;
                step.Split(part, next);
                for (int i = from; i < next.Count; i++)
                    length += next[i].Length;
                GrowthLimit.Check(piece.Length, length, "The pre-tokenizer");
            }
            (current, next) = (next, current);
        }
        parts.AddRange(current);
    }
}
