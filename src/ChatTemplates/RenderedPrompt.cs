namespace TpServe.ChatTemplates;

/// <summary>The prompt a template made of a conversation.</summary>
/// <param name="Text">The whole prompt.</param>
/// <param name="Segments">The same text cut where its origin changes; neighbours differ in origin.</param>
public sealed record RenderedPrompt(string Text, IReadOnlyList<RenderedSegment> Segments);
