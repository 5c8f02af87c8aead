using TpServe.Tokenization.Normalizers;

namespace TpServe.Tokenization.AddedTokens;

/// <summary>All added tokens of a tokenizer: those found in the raw text, those found after normalizing, and which are special.</summary>
internal sealed class AddedVocabulary
{
    private readonly Dictionary<int, string> _texts = [];
    private readonly Dictionary<int, string> _decodedTexts = [];
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);
    private readonly HashSet<string> _specialTexts = new(StringComparer.Ordinal);

    public AddedVocabulary(IEnumerable<AddedToken> tokens, INormalizer? normalizer)
    {
        // Special ones first: of two tokens with one text the special one is found.
        foreach (AddedToken token in tokens.OrderByDescending(token => token.Special))
        {
            _texts[token.Id] = token.Text;
            _ids.TryAdd(token.Text, token.Id);
            if (token.Special)
                _specialTexts.Add(token.Text);
            string sought = token.Normalized && normalizer is not null ? normalizer.Normalize(token.Text) : token.Text;
            _decodedTexts[token.Id] = sought;
            (token.Normalized ? InNormalizedText : InRawText).Add(token, sought);
            LargestId = Math.Max(LargestId, token.Id);
            StripsSpace |= token.StripsLeft || token.StripsRight;
        }
    }

    public AddedTokenFinder InRawText { get; } = new();

    public AddedTokenFinder InNormalizedText { get; } = new();

    public int LargestId { get; } = -1;

    /// <summary>The texts that are looked for.</summary>
    public IEnumerable<string> SoughtTexts => _decodedTexts.Values;

    /// <summary>True where one of them takes white space around it along.</summary>
    public bool StripsSpace { get; }

    public string? TextOf(int id) => _texts.GetValueOrDefault(id);

    /// <summary>What decoding sees: the normalized text, as the reference has it, so that a normalized special token may not even be special there.</summary>
    public string? TextToDecode(int id) => _decodedTexts.GetValueOrDefault(id);

    public int? IdOf(string text) => _ids.TryGetValue(text, out int id) ? id : null;

    /// <summary>Special is a property of the text, as in the reference: an id with the same text is special too.</summary>
    public bool IsSpecial(string text) => _specialTexts.Contains(text);
}

/// <summary>A token that is recognised in the text itself, before the model sees it.</summary>
internal sealed record AddedToken
{
    public required string Text { get; init; }

    public required int Id { get; init; }

    /// <summary>Only where no word character touches it.</summary>
    public bool SingleWord { get; init; }

    /// <summary>Takes the white space before it along.</summary>
    public bool StripsLeft { get; init; }

    /// <summary>Takes the white space after it along.</summary>
    public bool StripsRight { get; init; }

    /// <summary>Is looked for in normalized text, by its own normalized text.</summary>
    public bool Normalized { get; init; }

    /// <summary>Steers the model: recognised only in trusted text, dropped on decoding where asked.</summary>
    public bool Special { get; init; }
}
