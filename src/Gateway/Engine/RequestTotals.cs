namespace TpServe.Gateway.Engine;

/// <summary>What a request took.</summary>
/// <param name="PromptTokens">Counted once however many outputs there are.</param>
/// <param name="CompletionTokens">Of all outputs.</param>
/// <param name="CachedTokens">Prompt tokens that were not computed.</param>
/// <param name="Queue">From arrival to the first step.</param>
/// <param name="Prefill">From the first step to the first token.</param>
/// <param name="Decode">From the first token to the last.</param>
/// <param name="Total">From arrival to the last token.</param>
public sealed record RequestTotals(
    int PromptTokens, int CompletionTokens, int CachedTokens, TimeSpan Queue, TimeSpan Prefill, TimeSpan Decode, TimeSpan Total);
