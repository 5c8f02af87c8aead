using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.Responses;

/// <summary>A response, whole or as far as it has come, with the settings in force for it.</summary>
public sealed record ResponseReply
{
    public required string Id { get; init; }

    public string Object { get; } = "response";

    public required long CreatedAt { get; init; }

    /// <summary>in_progress, completed, incomplete, failed.</summary>
    public required string Status { get; init; }

    public bool Background { get; }

    public long? CompletedAt { get; init; }

    public ResponseFault? Error { get; init; }

    public IncompleteReply? IncompleteDetails { get; init; }

    public string? Instructions { get; init; }

    public int? MaxOutputTokens { get; init; }

    public int? MaxToolCalls { get; }

    public required string Model { get; init; }

    public required IReadOnlyList<OutputItem> Output { get; init; }

    public required bool ParallelToolCalls { get; init; }

    public string? PreviousResponseId { get; init; }

    public string? PromptCacheKey { get; init; }

    public required ReasoningReply Reasoning { get; init; }

    public string? SafetyIdentifier { get; init; }

    public string ServiceTier { get; } = "default";

    public required bool Store { get; init; }

    public required float Temperature { get; init; }

    public required JsonObject Text { get; init; }

    public required JsonElement ToolChoice { get; init; }

    public required JsonElement Tools { get; init; }

    public required int TopLogprobs { get; init; }

    public required float TopP { get; init; }

    public required float PresencePenalty { get; init; }

    public required float FrequencyPenalty { get; init; }

    public string Truncation { get; } = "disabled";

    /// <summary>Null while it is in progress.</summary>
    public ResponseUsage? Usage { get; init; }

    public string? User { get; init; }

    public required IReadOnlyDictionary<string, string> Metadata { get; init; }
}

/// <summary>Why a response failed.</summary>
public sealed record ResponseFault(string Code, string Message);

/// <summary>Why a response is incomplete: max_output_tokens, or aborted by an operator.</summary>
public sealed record IncompleteReply(string Reason);

/// <summary>How the model was asked to think.</summary>
public sealed record ReasoningReply(string? Effort)
{
    public string? Summary { get; }
}

/// <summary>One item of an answer: message, reasoning or function_call, each with the members that it has.</summary>
public sealed record OutputItem
{
    public required string Id { get; init; }

    public required string Type { get; init; }

    /// <summary>in_progress, completed, incomplete.</summary>
    public required string Status { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Role { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<OutputPart>? Content { get; init; }

    /// <summary>Of reasoning: always empty, for its text is told whole.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Summary { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? CallId { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Name { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Arguments { get; init; }
}

/// <summary>Text of an item: output_text or reasoning_text.</summary>
public sealed record OutputPart(string Type, string Text)
{
    /// <summary>Of output_text: always empty.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Annotations { get; init; }

    /// <summary>Of output_text: empty where they are not asked for.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<TokenLogprob>? Logprobs { get; init; }
}

/// <summary>Tokens counted.</summary>
public sealed record ResponseUsage(int InputTokens, InputTokensDetails InputTokensDetails, int OutputTokens, OutputTokensDetails OutputTokensDetails, int TotalTokens);

/// <summary>Of which from the cache.</summary>
public sealed record InputTokensDetails(int CachedTokens);

/// <summary>Of which thought, marks included.</summary>
public sealed record OutputTokensDetails(int ReasoningTokens);

/// <summary>One event of a streamed response, with the members that its type has.</summary>
public sealed record ResponseEvent(string Type, int SequenceNumber)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public ResponseReply? Response { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? OutputIndex { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? ItemId { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? ContentIndex { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public OutputItem? Item { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public OutputPart? Part { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Delta { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Text { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Name { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Arguments { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<TokenLogprob>? Logprobs { get; init; }
}

/// <summary>Answer of GET /v1/responses/{id}/input_items.</summary>
public sealed record InputItemsReply(IReadOnlyList<JsonObject> Data, string? FirstId, string? LastId, bool HasMore)
{
    public string Object { get; } = "list";
}

/// <summary>Answer of DELETE /v1/responses/{id}.</summary>
public sealed record DeletedReply(string Id)
{
    public string Object { get; } = "response";

    public bool Deleted { get; } = true;
}
