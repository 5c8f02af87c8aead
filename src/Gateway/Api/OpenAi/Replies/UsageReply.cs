using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Tokens counted.</summary>
[JsonConverter(typeof(UsageReplyConverter))]
/// <param name="ReasoningTokens">Completion tokens of thoughts; null = the route tells none apart.</param>
public sealed record UsageReply(int PromptTokens, int CompletionTokens, int CachedTokens, int? ReasoningTokens = null)
{
    /// <summary>Written as null: chunks before the last one of a stream that will tell its usage.</summary>
    public static UsageReply NotYet { get; } = new(0, 0, 0);
}

/// <summary>OpenAI's usage object, or the null that stands for <see cref="UsageReply.NotYet"/>.</summary>
internal sealed class UsageReplyConverter : JsonConverter<UsageReply>
{
    /// <inheritdoc/>
    public override UsageReply Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        throw new NotSupportedException("Usage is only written.");

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, UsageReply value, JsonSerializerOptions options)
    {
        if (ReferenceEquals(value, UsageReply.NotYet))
        {
            writer.WriteNullValue();
            return;
        }
        writer.WriteStartObject();
        writer.WriteNumber("prompt_tokens", value.PromptTokens);
        writer.WriteNumber("completion_tokens", value.CompletionTokens);
        writer.WriteNumber("total_tokens", value.PromptTokens + value.CompletionTokens);
        writer.WriteStartObject("prompt_tokens_details");
        writer.WriteNumber("cached_tokens", value.CachedTokens);
        writer.WriteEndObject();
        if (value.ReasoningTokens is { } reasoning)
        {
            writer.WriteStartObject("completion_tokens_details");
            writer.WriteNumber("reasoning_tokens", reasoning);
            writer.WriteEndObject();
        }
        writer.WriteEndObject();
    }
}
