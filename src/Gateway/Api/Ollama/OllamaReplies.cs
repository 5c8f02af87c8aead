using System.Text.Json;
using System.Text.Json.Serialization;
using TpServe.Gateway.Api.OpenAi.Replies;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>Answer of /api/chat (message) or /api/generate (response), whole or a line of its stream. Durations are in nanoseconds.</summary>
public sealed record OllamaReply
{
    public required string Model { get; init; }

    /// <summary>RFC 3339.</summary>
    public required string CreatedAt { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public OllamaMessage? Message { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Response { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Thinking { get; init; }

    public required bool Done { get; init; }

    /// <summary>stop, length, load, abort.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? DoneReason { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? TotalDuration { get; init; }

    /// <summary>Always 0: the model is there before anybody asks.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? LoadDuration { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? PromptEvalCount { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? PromptEvalDuration { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? EvalCount { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? EvalDuration { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<TokenLogprob>? Logprobs { get; init; }
}

/// <summary>What the model says, or the next piece of it.</summary>
public sealed record OllamaMessage(string Content)
{
    public string Role { get; } = "assistant";

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Thinking { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<OllamaToolCall>? ToolCalls { get; init; }
}

/// <summary>Answer of /api/embed: vectors of length 1, one for each input.</summary>
public sealed record OllamaEmbedReply(string Model, IReadOnlyList<float[]> Embeddings, long TotalDuration, int PromptEvalCount)
{
    public long LoadDuration { get; }
}

/// <summary>Answer of /api/embeddings: the vector as the model has it.</summary>
public sealed record OllamaEmbeddingReply(float[] Embedding);

/// <summary>Answer of /api/tags and of /api/ps.</summary>
public sealed record OllamaModelsReply(IReadOnlyList<OllamaModel> Models);

/// <summary>A model by one of its names.</summary>
public sealed record OllamaModel(string Name, string ModifiedAt, long Size, string Digest, OllamaDetails Details)
{
    public string Model => Name;

    /// <summary>Of a model that is loaded: never, while the server lives.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? ExpiresAt { get; init; }

    /// <summary>Of a model that is loaded: its bytes on GPUs.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? SizeVram { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? ContextLength { get; init; }
}

/// <summary>What a model is, in words.</summary>
public sealed record OllamaDetails(string Format, string Family, IReadOnlyList<string> Families, string ParameterSize, string QuantizationLevel)
{
    public string ParentModel { get; } = "";
}

/// <summary>Answer of /api/show.</summary>
public sealed record OllamaShowReply(
    string Modelfile, string Parameters, string Template, OllamaDetails Details, IReadOnlyDictionary<string, JsonElement> ModelInfo, IReadOnlyList<string> Capabilities, string ModifiedAt);

/// <summary>Answer of /api/version: Ollama's version whose API is spoken, which clients compare, and the server's own.</summary>
public sealed record OllamaVersionReply(string Version, string Tpserve);

/// <summary>Ollama's error body, and the last line of a stream that fails.</summary>
public sealed record OllamaErrorReply(string Error);
