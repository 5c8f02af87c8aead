namespace TpServe.Tokenization.PreTokenizers;

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
