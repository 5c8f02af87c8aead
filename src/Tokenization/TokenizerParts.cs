using TpServe.Tokenization.AddedTokens;
using TpServe.Tokenization.Decoders;
using TpServe.Tokenization.Models;
using TpServe.Tokenization.Normalizers;
using TpServe.Tokenization.PreTokenizers;

namespace TpServe.Tokenization;

/// <summary>The pipeline of a tokenizer, whichever file it came from.</summary>
internal sealed record TokenizerParts
{
    public INormalizer? Normalizer { get; init; }

    public IPreTokenizer? PreTokenizer { get; init; }

    public required ITokenModel Model { get; init; }

    public required AddedVocabulary Added { get; init; }

    public SpecialTokenTemplate Template { get; init; } = SpecialTokenTemplate.None;

    public required DecoderChain Decoder { get; init; }

    /// <summary>Where the file names it; else the bos token's text decides.</summary>
    public int? BosTokenId { get; init; }
}

/// <summary>The ids that a post-processor puts around a text: beginning of text, end, separators.</summary>
internal sealed record SpecialTokenTemplate(IReadOnlyList<int> Before, IReadOnlyList<int> After)
{
    public static SpecialTokenTemplate None { get; } = new([], []);

    /// <summary>This one inside another.</summary>
    public SpecialTokenTemplate Inside(SpecialTokenTemplate outer) => new([.. outer.Before, .. Before], [.. After, .. outer.After]);
}
