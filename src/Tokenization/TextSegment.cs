namespace TpServe.Tokenization;

/// <summary>A run of a prompt that comes from one author.</summary>
/// <param name="Text">The characters.</param>
/// <param name="ParseSpecial">True where special tokens may be recognised: template text, never user text.</param>
public readonly record struct TextSegment(string Text, bool ParseSpecial);
