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

    /// <summary>stop, length, tool_calls, abort.</summary>
    public required string FinishReason { get; init; }
}

/// <summary>What the model answers.</summary>
/// <param name="Content">The text; null where there are calls and no text.</param>
public sealed record ChatMessageReply(string? Content)
{
    public string Role { get; } = "assistant";

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? ReasoningContent { get; init; }

    /// <summary>The same by its newer name.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Reasoning => ReasoningContent;

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<ToolCallReply>? ToolCalls { get; init; }

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

    /// <summary>stop, length, tool_calls, abort; null while it goes on.</summary>
    public string? FinishReason { get; init; }
}

/// <summary>What a chunk adds to a message; the role comes with the first.</summary>
public sealed record ChatDelta
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Content { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? ReasoningContent { get; init; }

    /// <summary>The same by its newer name.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Reasoning => ReasoningContent;

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<ToolCallReply>? ToolCalls { get; init; }
}

/// <summary>A call that the model makes; of a stream, its beginning or the next piece of its arguments.</summary>
public sealed record ToolCallReply
{
    /// <summary>Only in a stream: which of the message's calls.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Index { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Id { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Type { get; init; }

    public required FunctionReply Function { get; init; }
}

/// <summary>What is called.</summary>
/// <param name="Name">Only with the first piece.</param>
/// <param name="Arguments">A JSON object's text, or the next piece of it.</param>
public sealed record FunctionReply([property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Name, string Arguments);
