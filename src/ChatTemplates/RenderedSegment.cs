namespace TpServe.ChatTemplates;

/// <summary>A stretch of a rendered prompt with one origin.</summary>
/// <param name="Text">The text, never empty.</param>
/// <param name="FromTemplate">True for the template's own text and the bos and eos tokens, in which special tokens may be recognised;
/// false for the request's data, where text that looks like a special token is only text.</param>
public readonly record struct RenderedSegment(string Text, bool FromTemplate);
