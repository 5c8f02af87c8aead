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

/// <summary>One output of a chat.</summary>
public sealed record ChatChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required ChatMessageReply Message { get; init; }

    public ChatLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort.</summary>
    public required string FinishReason { get; init; }
}

/// <summary>What the model answers.</summary>
public sealed record ChatMessageReply(string Content)
{
    public string Role { get; } = "assistant";

    /// <summary>Always null: the model's words are its content.</summary>
    public string? Refusal { get; }
}

/// <summary>One chunk of a streamed chat.</summary>
public sealed record ChatChunk
{
    public required string Id { get; init; }

    public string Object { get; } = "chat.completion.chunk";

    public required long Created { get; init; }

    public required string Model { get; init; }

    public string SystemFingerprint { get; } = $"tpserve-{ServerClock.Version}";

    public required IReadOnlyList<ChatChunkChoice> Choices { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public UsageReply? Usage { get; init; }
}

/// <summary>The next piece of one output of a chat.</summary>
public sealed record ChatChunkChoice : ChoiceExtras
{
    public required int Index { get; init; }

    public required ChatDelta Delta { get; init; }

    public ChatLogprobs? Logprobs { get; init; }

    /// <summary>stop, length, abort; null while it goes on.</summary>
    public string? FinishReason { get; init; }
}

/// <summary>What a chunk adds to a message; the role comes with the first.</summary>
public sealed record ChatDelta
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Content { get; init; }
}
