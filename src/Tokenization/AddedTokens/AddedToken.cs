namespace TpServe.Tokenization.AddedTokens;

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
