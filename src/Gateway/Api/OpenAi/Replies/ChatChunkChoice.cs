namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>The next piece of one output of a chat.</summary>
public sealed record ChatChunkChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required ChatDelta Delta { get; init; }

    public ChatLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort; null while it goes on.</summary>
    public string? FinishReason { get; init; }
}
