using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Tokens counted.</summary>
[JsonConverter(typeof(UsageReplyConverter))]
public sealed record UsageReply(int PromptTokens, int CompletionTokens, int CachedTokens)
{
    /// <summary>Written as null: chunks before the last one of a stream that will tell its usage.</summary>
    public static UsageReply NotYet { get; } = new(0, 0, 0);
}
