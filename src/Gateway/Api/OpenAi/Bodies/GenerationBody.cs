using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>What /v1/completions and /v1/chat/completions have in common: OpenAI's fields, and vLLM's where OpenAI has none. Null = not given.</summary>
public abstract class GenerationBody
{
    public string? Model { get; init; }

    public float? Temperature { get; init; }

    public float? TopP { get; init; }

    /// <summary>-1 means 0, off, as in vLLM.</summary>
    public int? TopK { get; init; }

    public float? MinP { get; init; }

    public float? PresencePenalty { get; init; }

    public float? FrequencyPenalty { get; init; }

    public float? RepetitionPenalty { get; init; }

    /// <summary>-2⁶³ to 2⁶⁴ - 1; negative numbers stand for the same 64 bits.</summary>
    public Int128? Seed { get; init; }

    public int? N { get; init; }

    /// <summary>Token id → bias.</summary>
    public Dictionary<string, float>? LogitBias { get; init; }

    public List<int>? AllowedTokenIds { get; init; }

    public int? MaxTokens { get; init; }

    public int? MinTokens { get; init; }

    /// <summary>One string or an array.</summary>
    [JsonConverter(typeof(StringOrArrayConverter))]
    public List<string>? Stop { get; init; }

    public List<int>? StopTokenIds { get; init; }

    public bool? IgnoreEos { get; init; }

    public bool? IncludeStopStrInOutput { get; init; }

    public int? PromptLogprobs { get; init; }

    public bool? ReturnTokenIds { get; init; }

    public bool? SkipSpecialTokens { get; init; }

    public bool? Stream { get; init; }

    public StreamOptionsBody? StreamOptions { get; init; }

    public string? RequestId { get; init; }

    /// <summary>Everything else: refused where it would change the answer (<see cref="UnservedFields"/>), passed over where not.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; init; }
}
