namespace TpServe.Gateway.Engine;

/// <summary>One output has ended.</summary>
/// <param name="OutputIndex">Which.</param>
/// <param name="Reason">Why.</param>
/// <param name="StopString">The stop string that ended it, if one did.</param>
/// <param name="StopTokenId">The request's stop token that ended it, if one did; null for the model's own.</param>
/// <param name="CompletionTokens">Its tokens, the one that ended it included.</param>
/// <param name="Totals">Of the whole request, with its last output.</param>
public sealed record FinishedEvent(
    int OutputIndex, EndReason Reason, string? StopString, int? StopTokenId, int CompletionTokens, RequestTotals? Totals) : GenerationEvent;
