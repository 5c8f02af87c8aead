using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>What /v1/completions and /v1/chat/completions have in common: OpenAI's fields, and vLLM's where OpenAI has none; null is the same as not given.</summary>
public abstract class GenerationBody : SamplingBody
{
    /// <summary>n, in force.</summary>
    [JsonIgnore] public int Outputs => Sampling.HasN ? Sampling.N : 1;

    public StreamOptionsBody? StreamOptions { get; set; }

    public int? N { set => Set(value, given => Sampling.N = given); }

    public int? MaxTokens { set => Set(value, given => Stopping.MaxTokens = given); }

    /// <summary>One string or an array.</summary>
    [JsonConverter(typeof(StringOrArrayConverter))]
    public List<string>? Stop { set => Fill(Stopping.Stop, value); }

    public bool? IncludeStopStrInOutput { set => Set(value, given => Stopping.IncludeStop = given); }

    public int? PromptLogprobs { set => Set(value, given => Response.PromptLogprobs = given); }

    public bool? ReturnTokenIds { set => Set(value, given => Response.TokenIds = given); }

    /// <summary>OpenAI's: text, json_object or json_schema.</summary>
    public JsonElement? ResponseFormat { get; set; }

    /// <summary>vLLM's: json, json_object, regex, choice or grammar.</summary>
    public JsonElement? StructuredOutputs { get; set; }

    /// <summary>By the proto's names.</summary>
    public JsonElement? Constraint { get; set; }

    public JsonElement? GuidedJson { get; set; }

    public JsonElement? GuidedRegex { get; set; }

    public JsonElement? GuidedChoice { get; set; }

    public JsonElement? GuidedGrammar { get; set; }
}

/// <summary>stream_options.</summary>
public sealed class StreamOptionsBody
{
    /// <summary>A last chunk without choices tells the usage.</summary>
    public bool? IncludeUsage { get; set; }
}

/// <summary>Body of /v1/completions.</summary>
public sealed class CompletionBody : GenerationBody
{
    /// <summary>A string, an array of strings, an array of token ids, or an array of those.</summary>
    public JsonElement? Prompt { get; set; }

    /// <summary>The text begins with the prompt.</summary>
    public bool? Echo { get; set; }

    /// <summary>Likeliest tokens reported with each token.</summary>
    public int? Logprobs { set => Set(value, given => (Response.Logprobs, Response.TopLogprobs) = (true, given)); }

    /// <summary>Default true.</summary>
    public bool? AddSpecialTokens { get; set; }

    /// <summary>Default true: the text of a special token becomes that token; false: only its letters.</summary>
    public bool? ParseSpecialTokens { get; set; }
}
