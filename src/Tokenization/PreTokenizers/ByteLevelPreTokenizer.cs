using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Cuts by GPT-2's pattern (where asked to) and writes every byte as its character of the byte alphabet.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : IPreTokenizer
{
    /// <summary>GPT-2's split pattern.</summary>
    public const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private static readonly Lazy<SplitPreTokenizer> Gpt2Split = new(() => new(new PatternFinder(Pattern.Parse(Gpt2Pattern)), SplitBehavior.Isolated, invert: false));

    public void Split(TextPiece piece, List<TextPiece> parts)
    {
        if (addPrefixSpace && !piece.Span.StartsWith(' '))
            piece = new TextPiece(string.Concat(" ", piece.Span), 0, piece.Length + 1, piece.AtOrigin);
        int from = parts.Count;
        if (useRegex)
            Gpt2Split.Value.Split(piece, parts);
        else
            parts.Add(piece);
        for (int i = from; i < parts.Count; i++)
        {
            string encoded = ByteAlphabet.Encode(parts[i].Span);
            parts[i] = new TextPiece(encoded, 0, encoded.Length, parts[i].AtOrigin);
        }
    }
}
