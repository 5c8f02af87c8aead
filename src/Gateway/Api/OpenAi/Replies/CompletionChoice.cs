namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>One output of a completion, whole or the next piece.</summary>
public sealed record CompletionChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required string Text { get; init; }

    public LegacyLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort; null while it goes on.</summary>
    public string? FinishReason { get; init; }
}
