using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>Why the scheduler ended a sequence.</summary>
public enum SequenceEnd
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>Its last token is one of its end tokens.</summary>
    EndToken,

    /// <summary>Its constraint lets nothing follow: the last token is part of the text.</summary>
    Complete,

    /// <summary>It has as many tokens as it may have.</summary>
    Length,

    /// <summary>Its own arithmetic failed; <see cref="SequenceProgress.Fault"/> says how.</summary>
    Fault,
}

/// <summary>What one step did for one sequence.</summary>
/// <param name="Sequence">Which; its token log holds the new tokens already.</param>
/// <param name="Tokens">The sampled tokens in order; empty where the step only computed.</param>
/// <param name="Logprobs">Of each of them, where the sequence asks; else empty.</param>
/// <param name="PromptLogprobs">Of prompt tokens reported for the first time, in order, where the sequence asks; else empty.</param>
/// <param name="ComputedPromptTokens">Prompt tokens computed in this step.</param>
/// <param name="End">Whether and why the sequence has ended with this step.</param>
/// <param name="Fault">What failed; empty unless End says so.</param>
public readonly record struct SequenceProgress(
    Sequence Sequence, IReadOnlyList<int> Tokens, IReadOnlyList<TokenLogprobs> Logprobs, IReadOnlyList<TokenLogprobs> PromptLogprobs, int ComputedPromptTokens,
    SequenceEnd End, string Fault)
{
    /// <summary>The prompt's pooled hidden states, where the sequence is embedded and has ended.</summary>
    public IReadOnlyList<float> Embedding { get; init; } = [];
}

/// <summary>The workers answered something that no step in flight asked: the group cannot be trusted any more.</summary>
public sealed class StepMismatchException(string message) : Exception(message);

/// <summary>One request is refused because the queue holds as much as it may.</summary>
/// <param name="what">What is full: "sequences" or "prompt tokens".</param>
/// <param name="waiting">How many are waiting.</param>
/// <param name="limit">At how many requests are refused.</param>
public sealed class QueueFullException(string what, long waiting, long limit)
    : Exception($"The queue is full: {waiting} {what} are waiting, the limit is {limit}.")
{
    /// <summary>How many are waiting.</summary>
    public long Waiting { get; } = waiting;

    /// <summary>At how many requests are refused.</summary>
    public long Limit { get; } = limit;
}
