using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Cuts a piece of text into smaller ones, possibly changing it.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface IPreTokenizer
{
    /// <summary>Appends the parts of the piece, in order, none empty.</summary>
    void Split(TextPiece piece, List<TextPiece> parts);
}

/// <summary>A run of normalized text that the model encodes by itself.</summary>
/// <param name="Text">The string it lies in.</param>
/// <param name="Start">Its first UTF-16 unit.</param>
/// <param name="Length">UTF-16 units.</param>
/// <param name="AtOrigin">True where it begins the whole text: prepend_scheme "first" asks.</param>
internal readonly record struct TextPiece(string Text, int Start, int Length, bool AtOrigin)
{
    public ReadOnlySpan<char> Span => Text.AsSpan(Start, Length);

    /// <summary>A part of it, by offsets from its start.</summary>
    public TextPiece Part(int start, int end) => new(Text, Start + start, end - start, AtOrigin && start == 0);
}

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

/// <summary>Where Metaspace puts its mark before a text.</summary>
internal enum PrependScheme
{
    /// <summary>Before every piece between added tokens.</summary>
    Always,

    /// <summary>Before the first piece only.</summary>
    First,

    /// <summary>Nowhere.</summary>
    Never,
}
