namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>One output of a chat.</summary>
public sealed record ChatChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required ChatMessageReply Message { get; init; }

    public ChatLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort.</summary>
    public required string FinishReason { get; init; }
}
