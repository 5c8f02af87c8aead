namespace TpServe.Gateway.Engine;

/// <summary>New text or tokens of one output, never cumulative.</summary>
/// <param name="OutputIndex">Which output.</param>
/// <param name="Text">Whole characters; what may become a stop string is held back. May be empty where tokens are reported.</param>
/// <param name="Tokens">The tokens of this step where the request asks for logprobs or token ids; their text may come later.</param>
/// <param name="PromptTokens">With output 0's first delta, where prompt logprobs are asked for: every prompt token, the first without logprobs.</param>
public sealed record DeltaEvent(int OutputIndex, string Text, IReadOnlyList<ReportedToken> Tokens, IReadOnlyList<ReportedToken> PromptTokens)
    : GenerationEvent;
