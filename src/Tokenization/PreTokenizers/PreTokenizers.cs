using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Cuts a piece of text into smaller ones, possibly changing it.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface IPreTokenizer
{
    /// <summary>True where every character of the text is in the parts, as it is or in the byte alphabet.</summary>
    bool KeepsText => true;

    /// <summary>True where the parts are written in the byte alphabet.</summary>
    bool WritesBytes => false;

    /// <summary>Gives the parts of the piece to the taker, in order, none empty, until it wants no more. False where it did not want all.</summary>
    bool Split(TextPiece piece, PieceTaker take);
}

/// <summary>Takes a part of a text; false = no further one is wanted, so that a text that is too long is not cut to its end.</summary>
internal delegate bool PieceTaker(TextPiece part);

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
    public bool KeepsText => steps.All(step => step.KeepsText);

    public bool WritesBytes => steps.Any(step => step.WritesBytes);

    public bool Split(TextPiece piece, PieceTaker take)
    {
        // Each part goes through all steps before the next one is cut.
        for (int i = steps.Count - 1; i >= 0; i--)
        {
            PieceTaker following = take;
            IPreTokenizer? step = i + 1 < steps.Count ? steps[i + 1] : null;
            long length = 0;
            take = part =>
            {
                GrowthLimit.Check(piece.Length, length += part.Length, "The pre-tokenizer");
                return step is null ? following(part) : step.Split(part, following);
            };
        }
        return steps.Count == 0 ? take(piece) : steps[0].Split(piece, take);
    }
}

/// <summary>Cuts by GPT-2's pattern (where asked to) and writes every byte as its character of the byte alphabet.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : IPreTokenizer
{
    /// <summary>GPT-2's split pattern.</summary>
    public const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private static readonly Lazy<SplitPreTokenizer> Gpt2Split = new(() => new(new PatternFinder(Pattern.Parse(Gpt2Pattern)), SplitBehavior.Isolated, invert: false));

    public bool WritesBytes => true;

    public bool Split(TextPiece piece, PieceTaker take)
    {
        if (addPrefixSpace && !piece.Span.StartsWith(' '))
            piece = new TextPiece(string.Concat(" ", piece.Span), 0, piece.Length + 1, piece.AtOrigin);
        return useRegex ? Gpt2Split.Value.Split(piece, Write) : Write(piece);

        bool Write(TextPiece part)
        {
            string encoded = ByteAlphabet.Encode(part.Span);
            return take(new TextPiece(encoded, 0, encoded.Length, part.AtOrigin));
        }
    }
}

/// <summary>Writes spaces as a visible mark, U+2581 as a rule, puts one in front, and cuts before each mark.</summary>
internal sealed class MetaspacePreTokenizer(char mark, PrependScheme scheme, bool split) : IPreTokenizer
{
    private readonly SplitPreTokenizer _split = new(new LiteralFinder(mark.ToString()), SplitBehavior.MergedWithNext, invert: false);

    public bool KeepsText => false;

    public bool Split(TextPiece piece, PieceTaker take)
    {
        string text = piece.Span.ToString().Replace(' ', mark);
        bool prepends = scheme == PrependScheme.Always || (scheme == PrependScheme.First && piece.AtOrigin);
        if (prepends && !text.StartsWith(mark))
            text = mark + text;
        TextPiece marked = new(text, 0, text.Length, piece.AtOrigin);
        return split ? _split.Split(marked, take) : take(marked);
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
