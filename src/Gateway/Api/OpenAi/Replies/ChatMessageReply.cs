namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>What the model answers.</summary>
public sealed record ChatMessageReply(string Content)
{
    public string Role { get; } = "assistant";

    /// <summary>Always null: the model's words are its content.</summary>
    public string? Refusal { get; }
}
