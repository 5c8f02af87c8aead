namespace TpServe.Gateway.Engine;

/// <summary>The request has left the queue and runs.</summary>
/// <param name="CachedTokens">Prompt tokens that need not be computed.</param>
public sealed record StartedEvent(int CachedTokens) : GenerationEvent;
