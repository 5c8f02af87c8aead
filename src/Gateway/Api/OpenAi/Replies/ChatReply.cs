using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /v1/chat/completions.</summary>
public sealed record ChatReply
{
    public required string Id { get; init; }

    public string Object { get; } = "chat.completion";

    public required long Created { get; init; }

    public required string Model { get; init; }

    public string SystemFingerprint { get; } = $"tpserve-{ServerClock.Version}";

    public required IReadOnlyList<ChatChoice> Choices { get; init; }

    public required UsageReply Usage { get; init; }
}
