using System.Text.Json;
using System.Text.Json.Serialization;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>What /api/chat and /api/generate have in common; null is the same as not given.</summary>
public abstract class OllamaBody
{
    public string? Model { get; set; }

    /// <summary>"json", or a JSON Schema.</summary>
    public JsonElement? Format { get; set; }

    public OllamaOptions? Options { get; set; }

    /// <summary>Default true.</summary>
    public bool? Stream { get; set; }

    /// <summary>true, false, or how much: low, medium, high.</summary>
    public JsonElement? Think { get; set; }

    /// <summary>Read and without effect: the model stays.</summary>
    public JsonElement? KeepAlive { get; set; }

    public bool? Logprobs { get; set; }

    public int? TopLogprobs { get; set; }

    /// <summary>Everything else: refused where it would change the answer, passed over where not.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }

    /// <summary>What the call's header says it is called; null = it has none.</summary>
    [JsonIgnore] public string? CallId { get; set; }
}

/// <summary>Body of /api/chat.</summary>
public sealed class OllamaChatBody : OllamaBody
{
    /// <summary>None = only that the model is there is asked.</summary>
    public List<OllamaMessageBody?>? Messages { get; set; }

    /// <summary>Functions that the model may call.</summary>
    public JsonElement? Tools { get; set; }
}

/// <summary>Body of /api/generate.</summary>
public sealed class OllamaGenerateBody : OllamaBody
{
    /// <summary>Empty = only that the model is there is asked.</summary>
    public string? Prompt { get; set; }

    public string? System { get; set; }

    /// <summary>The prompt goes to the model as it is, and special tokens in it are those tokens.</summary>
    public bool? Raw { get; set; }

    /// <summary>Refused.</summary>
    public string? Suffix { get; set; }

    /// <summary>Refused.</summary>
    public string? Template { get; set; }

    /// <summary>Refused: token ids of an earlier answer.</summary>
    public JsonElement? Context { get; set; }

    /// <summary>Refused.</summary>
    public JsonElement? Images { get; set; }
}

/// <summary>One message of a conversation.</summary>
public sealed class OllamaMessageBody
{
    public string? Role { get; set; }

    public string? Content { get; set; }

    public string? Thinking { get; set; }

    /// <summary>Refused.</summary>
    public JsonElement? Images { get; set; }

    public List<OllamaToolCall?>? ToolCalls { get; set; }

    /// <summary>Of a tool's message: which function.</summary>
    public string? ToolName { get; set; }

    public string? ToolCallId { get; set; }
}

/// <summary>A call of a function.</summary>
public sealed record OllamaToolCall
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Id { get; init; }

    public OllamaFunctionCall? Function { get; init; }
}

/// <summary>The function and its arguments, a JSON object.</summary>
public sealed record OllamaFunctionCall
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Index { get; init; }

    public string? Name { get; init; }

    public JsonElement? Arguments { get; init; }
}

/// <summary>How tokens are chosen and where an answer ends, in Ollama's names. What is not given is the model's default, and not Ollama's.</summary>
public sealed class OllamaOptions
{
    [JsonIgnore] public SamplingOptions Sampling { get; } = new();

    [JsonIgnore] public StoppingOptions Stopping { get; } = new();

    public float? Temperature { set => Set(value, given => Sampling.Temperature = given); }

    public float? TopP { set => Set(value, given => Sampling.TopP = given); }

    /// <summary>0 and less = off.</summary>
    public int? TopK { set => Set(value, given => Sampling.TopK = Math.Max(given, 0)); }

    public float? MinP { set => Set(value, given => Sampling.MinP = given); }

    public float? RepeatPenalty { set => Set(value, given => Sampling.RepetitionPenalty = given); }

    public float? PresencePenalty { set => Set(value, given => Sampling.PresencePenalty = given); }

    public float? FrequencyPenalty { set => Set(value, given => Sampling.FrequencyPenalty = given); }

    /// <summary>Below 0 = chosen by the server.</summary>
    public long? Seed
    {
        set
        {
            if (value is >= 0)
                Sampling.Seed = (ulong)value.Value;
        }
    }

    /// <summary>Most tokens of the answer; 0 and less = as many as there is room for.</summary>
    public int? NumPredict
    {
        set
        {
            if (value is > 0)
                Stopping.MaxTokens = value.Value;
        }
    }

    /// <summary>One string or an array.</summary>
    [JsonConverter(typeof(StringOrArrayConverter))]
    public List<string>? Stop
    {
        set
        {
            Stopping.Stop.Clear();
            Stopping.Stop.AddRange(value ?? []);
        }
    }

    /// <summary>No more than the context that is served.</summary>
    public int? NumCtx { get; set; }

    /// <summary>Everything else: refused where it would change the answer, passed over where it is of the machine.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }

    private static void Set<T>(T? value, Action<T> set)
        where T : struct
    {
        if (value is { } given)
            set(given);
    }
}

/// <summary>Body of /api/embed, and of the older /api/embeddings.</summary>
public sealed class OllamaEmbedBody
{
    public string? Model { get; set; }

    /// <summary>/api/embed: one string or an array.</summary>
    [JsonConverter(typeof(StringOrArrayConverter))]
    public List<string>? Input { get; set; }

    /// <summary>/api/embeddings: the text.</summary>
    public string? Prompt { get; set; }

    /// <summary>Only what the model has: vectors are not cut.</summary>
    public int? Dimensions { get; set; }

    /// <summary>Read and without effect: a text that is too long is refused.</summary>
    public bool? Truncate { get; set; }

    /// <summary>Read and without effect: nothing is sampled.</summary>
    public JsonElement? Options { get; set; }

    /// <summary>Read and without effect: the model stays.</summary>
    public JsonElement? KeepAlive { get; set; }
}

/// <summary>Body of /api/show.</summary>
public sealed class OllamaShowBody
{
    public string? Model { get; set; }

    /// <summary>The older name of model.</summary>
    public string? Name { get; set; }
}
