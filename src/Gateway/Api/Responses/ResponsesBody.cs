using System.Text.Json;

namespace TpServe.Gateway.Api.Responses;

/// <summary>Body of POST /v1/responses.</summary>
public sealed class ResponsesBody : SamplingBody
{
    /// <summary>A string, or an array of items.</summary>
    public JsonElement? Input { get; set; }

    /// <summary>Comes before everything, as a system message; it is not carried over to a next response.</summary>
    public string? Instructions { get; set; }

    public int? MaxOutputTokens { get => Stopping.HasMaxTokens ? Stopping.MaxTokens : null; set => Set(value, given => Stopping.MaxTokens = given); }

    /// <summary>Likeliest tokens reported with each token; more than 0 asks for logprobs.</summary>
    public int? TopLogprobs { get; set; }

    /// <summary>Functions that the model may call, in the flat form.</summary>
    public JsonElement? Tools { get; set; }

    /// <summary>none, auto, required, or one function.</summary>
    public JsonElement? ToolChoice { get; set; }

    /// <summary>Default true.</summary>
    public bool? ParallelToolCalls { get; set; }

    public TextConfigBody? Text { get; set; }

    public ReasoningBody? Reasoning { get; set; }

    /// <summary>Whether the response is kept. Default true.</summary>
    public bool? Store { get; set; }

    /// <summary>A response that is kept: its conversation goes on.</summary>
    public string? PreviousResponseId { get; set; }

    /// <summary>The client's own words, told with the response.</summary>
    public Dictionary<string, string>? Metadata { get; set; }

    public string? User { get; set; }

    public string? SafetyIdentifier { get; set; }

    public string? PromptCacheKey { get; set; }

    /// <summary>disabled; auto is refused.</summary>
    public string? Truncation { get; set; }

    /// <summary>Only message.output_text.logprobs.</summary>
    public List<string?>? Include { get; set; }
}

/// <summary>What the text of an answer must be.</summary>
public sealed class TextConfigBody
{
    /// <summary>text, json_object, or json_schema with its schema.</summary>
    public JsonElement? Format { get; set; }

    /// <summary>Only medium.</summary>
    public string? Verbosity { get; set; }
}

/// <summary>How a model thinks before it answers.</summary>
public sealed class ReasoningBody
{
    /// <summary>none, minimal, low, medium, high, xhigh.</summary>
    public string? Effort { get; set; }

    /// <summary>Only auto: reasoning is told whole.</summary>
    public string? Summary { get; set; }
}
