using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Replies;

/// <summary>Answer of /v1/completions, and each chunk of its stream.</summary>
public sealed record CompletionReply
{
    public required string Id { get; init; }

    public string Object { get; } = "text_completion";

    public required long Created { get; init; }

    public required string Model { get; init; }

    public string SystemFingerprint { get; } = $"tpserve-{ServerClock.Version}";

    public required IReadOnlyList<CompletionChoice> Choices { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UsageReply? Usage { get; init; }
}
