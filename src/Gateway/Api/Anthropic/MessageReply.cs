using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>Answer of /v1/messages, whole or as far as it has come.</summary>
public sealed record MessageReply
{
    public required string Id { get; init; }

    public string Type { get; } = "message";

    public string Role { get; } = "assistant";

    public required string Model { get; init; }

    public required IReadOnlyList<ContentBlock> Content { get; init; }

    /// <summary>end_turn, max_tokens, stop_sequence, tool_use, abort; null while it goes on.</summary>
    public string? StopReason { get; init; }

    public string? StopSequence { get; init; }

    public required MessageUsage Usage { get; init; }
}

/// <summary>One block of an answer: text, thinking or tool_use, each with the members that it has.</summary>
public sealed record ContentBlock(string Type)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Text { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Thinking { get; init; }

    /// <summary>Of thinking: always empty, for nothing is signed here.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Signature { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Id { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Name { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonElement? Input { get; init; }
}

/// <summary>Tokens counted; the prompt's are those that were computed and those from the cache.</summary>
public sealed record MessageUsage(int InputTokens, int CacheReadInputTokens, int OutputTokens)
{
    public int CacheCreationInputTokens { get; }
}

/// <summary>One event of a streamed message, with the members that its type has.</summary>
public sealed record MessageEvent(string Type)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public MessageReply? Message { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Index { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ContentBlock? ContentBlock { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public BlockDelta? Delta { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public MessageUsage? Usage { get; init; }
}

/// <summary>What a block grows by.</summary>
[JsonDerivedType(typeof(ContentDelta))]
[JsonDerivedType(typeof(MessageEnd))]
public abstract record BlockDelta;

/// <summary>text_delta, thinking_delta or input_json_delta.</summary>
public sealed record ContentDelta(string Type) : BlockDelta
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Text { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Thinking { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? PartialJson { get; init; }
}

/// <summary>How a message ended.</summary>
public sealed record MessageEnd(string StopReason, string? StopSequence) : BlockDelta;

/// <summary>Answer of /v1/messages/count_tokens.</summary>
public sealed record TokenCountReply(int InputTokens);

/// <summary>Anthropic's error body.</summary>
public sealed record MessagesErrorReply(MessagesFault Error, string RequestId)
{
    [JsonPropertyOrder(-1)]
    public string Type { get; } = "error";
}

/// <summary>What went wrong; param and code, which Anthropic has not, for programs.</summary>
public sealed record MessagesFault(string Type, string Message, string? Param, string Code);
