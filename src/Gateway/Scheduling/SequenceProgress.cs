using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>What one step did for one sequence.</summary>
/// <param name="Sequence">Which; its token log holds the new token already.</param>
/// <param name="Token">The sampled token; null where the step only computed prompt.</param>
/// <param name="Logprobs">Of the sampled token, where the sequence asks.</param>
/// <param name="PromptLogprobs">One for each prompt token computed in this step, where the sequence asks; else empty.</param>
/// <param name="ComputedPromptTokens">Prompt tokens computed in this step.</param>
/// <param name="End">Whether and why the sequence has ended with this step.</param>
public readonly record struct SequenceProgress(
    Sequence Sequence, int? Token, TokenLogprobs? Logprobs, IReadOnlyList<TokenLogprobs> PromptLogprobs, int ComputedPromptTokens, SequenceEnd End);
