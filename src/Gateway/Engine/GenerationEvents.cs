using TpServe.Protos.Worker;

namespace TpServe.Gateway.Engine;

/// <summary>What happens to a request: one <see cref="StartedEvent"/>, then <see cref="DeltaEvent"/>s, one <see cref="FinishedEvent"/> for each output.</summary>
public abstract record GenerationEvent;

/// <summary>The request has left the queue and runs.</summary>
/// <param name="CachedTokens">Prompt tokens that need not be computed.</param>
public sealed record StartedEvent(int CachedTokens) : GenerationEvent;

/// <summary>The worker group was lost while the request ran: its stream pauses until the group is back, then goes on with the tokens it would have had.</summary>
/// <param name="Reason">What happened to the group.</param>
public sealed record RecoveringEvent(string Reason) : GenerationEvent;

/// <summary>New text or tokens of one output, never cumulative.</summary>
/// <param name="OutputIndex">Which output.</param>
/// <param name="Text">Whole characters; what may become a stop string is held back. May be empty where tokens are reported.</param>
/// <param name="Tokens">The tokens of this step where the request asks for logprobs or token ids; their text may come later.</param>
/// <param name="PromptTokens">With output 0's first delta, where prompt logprobs are asked for: every prompt token, the first without logprobs.</param>
public sealed record DeltaEvent(int OutputIndex, string Text, IReadOnlyList<ReportedToken> Tokens, IReadOnlyList<ReportedToken> PromptTokens)
    : GenerationEvent
{
    /// <summary>New text of the model's reasoning, where it is told apart (<see cref="Answers.AnswerStream"/>).</summary>
    public string Reasoning { get; init; } = "";

    /// <summary>New calls and pieces of calls, where they are told apart.</summary>
    public IReadOnlyList<ToolCallPiece> ToolCalls { get; init; } = [];
}

/// <summary>The beginning of a call that the model makes, or the next piece of its arguments.</summary>
/// <param name="Index">Position among the calls of the output, from 0.</param>
/// <param name="Id">Names the call in the answer to it; only with its first piece.</param>
/// <param name="Name">The function; only with its first piece.</param>
/// <param name="Arguments">The next piece of the JSON object's text; may be empty.</param>
public sealed record ToolCallPiece(int Index, string? Id, string? Name, string Arguments);

/// <summary>The vector of one input of a request that embeds; its <see cref="FinishedEvent"/> follows.</summary>
/// <param name="Index">Which input.</param>
/// <param name="Values">Pooled hidden states as the model made them.</param>
public sealed record EmbeddedEvent(int Index, IReadOnlyList<float> Values) : GenerationEvent;

/// <summary>One output has ended.</summary>
/// <param name="OutputIndex">Which.</param>
/// <param name="Reason">Why.</param>
/// <param name="StopString">The stop string that ended it, if one did.</param>
/// <param name="StopTokenId">The request's stop token that ended it, if one did; null for the model's own.</param>
/// <param name="CompletionTokens">Its tokens, the one that ended it included.</param>
/// <param name="Totals">Of the whole request, with its last output.</param>
public sealed record FinishedEvent(
    int OutputIndex, EndReason Reason, string? StopString, int? StopTokenId, int CompletionTokens, RequestTotals? Totals) : GenerationEvent
{
    /// <summary>For each token of the output, how many characters of its text were visible before it; only where thoughts or calls are told from the text.</summary>
    public IReadOnlyList<int> TokenStarts { get; init; } = [];
}

/// <summary>Why an output ended.</summary>
public enum EndReason
{
    /// <summary>An end token, a stop token or a stop string.</summary>
    Stop,

    /// <summary>It has as many tokens as it may have.</summary>
    Length,

    /// <summary>An operator ended it.</summary>
    Aborted,

    /// <summary>It ended by itself after calls of tools.</summary>
    ToolCalls,
}

/// <summary>A token and, where asked for, what the model thought of it; ln p before temperature and filters.</summary>
public readonly record struct ReportedToken(int Id, TokenLogprobs? Logprobs);

/// <summary>What a request took.</summary>
/// <param name="PromptTokens">Counted once however many outputs there are.</param>
/// <param name="CompletionTokens">Of all outputs.</param>
/// <param name="CachedTokens">Prompt tokens that were not computed.</param>
/// <param name="Queue">From arrival to the first step.</param>
/// <param name="Prefill">From the first step to the first token.</param>
/// <param name="Decode">From the first token to the last.</param>
/// <param name="Total">From arrival to the last token.</param>
public sealed record RequestTotals(
    int PromptTokens, int CompletionTokens, int CachedTokens, TimeSpan Queue, TimeSpan Prefill, TimeSpan Decode, TimeSpan Total)
{
    /// <summary>Completion tokens that the model thought with, marks included; 0 where thoughts are not told apart.</summary>
    public int ReasoningTokens { get; init; }
}
