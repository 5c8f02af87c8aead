using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>What /v1/completions and /v1/chat/completions have in common: OpenAI's fields, and vLLM's where OpenAI has none. Null = not given.</summary>
public abstract class GenerationBody
{
    public string? Model { get; set; }

    public float? Temperature { get; set; }

    public float? TopP { get; set; }

    /// <summary>-1 means 0, off, as in vLLM.</summary>
    public int? TopK { get; set; }

    public float? MinP { get; set; }

    public float? PresencePenalty { get; set; }

    public float? FrequencyPenalty { get; set; }

    public float? RepetitionPenalty { get; set; }

    /// <summary>-2⁶³ to 2⁶⁴ - 1; negative numbers stand for the same 64 bits.</summary>
    public Int128? Seed { get; set; }

    public int? N { get; set; }

    /// <summary>Token id → bias.</summary>
    public Dictionary<string, float>? LogitBias { get; set; }

    public List<int>? AllowedTokenIds { get; set; }

    public int? MaxTokens { get; set; }

    public int? MinTokens { get; set; }

    /// <summary>One string or an array.</summary>
    [JsonConverter(typeof(StringOrArrayConverter))]
    public List<string>? Stop { get; set; }

    public List<int>? StopTokenIds { get; set; }

    public bool? IgnoreEos { get; set; }

    public bool? IncludeStopStrInOutput { get; set; }

    public int? PromptLogprobs { get; set; }

    public bool? ReturnTokenIds { get; set; }

    public bool? SkipSpecialTokens { get; set; }

    public bool? Stream { get; set; }

    public StreamOptionsBody? StreamOptions { get; set; }

    public string? RequestId { get; set; }

    /// <summary>Everything else: refused where it would change the answer (<see cref="UnservedFields"/>), passed over where not.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }
}
