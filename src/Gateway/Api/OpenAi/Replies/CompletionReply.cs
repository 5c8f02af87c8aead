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

/// <summary>One output of a completion, whole or the next piece.</summary>
public sealed record CompletionChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required string Text { get; init; }

    public LegacyLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort; null while it goes on.</summary>
    public string? FinishReason { get; init; }
}
