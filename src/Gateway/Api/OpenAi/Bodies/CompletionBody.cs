using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

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

    /// <summary>Default false: the text of a special token is only text.</summary>
    public bool? ParseSpecialTokens { get; set; }
}
