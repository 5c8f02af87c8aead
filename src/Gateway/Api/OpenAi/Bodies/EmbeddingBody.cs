using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /v1/embeddings: OpenAI's fields, and vLLM's where OpenAI has none; null is the same as not given.</summary>
public sealed class EmbeddingBody
{
    /// <summary>A string, an array of strings, an array of token ids, or an array of those.</summary>
    public JsonElement? Input { get; set; }

    public string? Model { get; set; }

    /// <summary>float (the default) or base64: the vector's float32 values, little-endian.</summary>
    public string? EncodingFormat { get; set; }

    /// <summary>Only what the model has: vectors are not cut.</summary>
    public int? Dimensions { get; set; }

    public string? User { get; set; }

    public string? RequestId { get; set; }

    /// <summary>Default true: vectors have length 1.</summary>
    public bool? Normalize { get; set; }

    /// <summary>Default true.</summary>
    public bool? AddSpecialTokens { get; set; }

    /// <summary>Default true: the text of a special token becomes that token; false: only its letters.</summary>
    public bool? ParseSpecialTokens { get; set; }

    /// <summary>Larger runs earlier.</summary>
    public int? Priority { get; set; }

    public string? CacheSalt { get; set; }

    public bool? CacheBypass { get; set; }

    /// <summary>Everything else: refused where it would change the answer, passed over where not.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }
}
