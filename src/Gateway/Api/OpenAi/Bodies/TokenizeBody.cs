using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /tokenize: a prompt or a conversation.</summary>
public sealed class TokenizeBody
{
    public string? Model { get; set; }

    public string? Prompt { get; set; }

    public List<MessageBody?>? Messages { get; set; }

    /// <summary>Prompts: default true. Conversations: the template writes them.</summary>
    public bool? AddSpecialTokens { get; set; }

    /// <summary>Default true: the text of a special token becomes that token; false: only its letters.</summary>
    public bool? ParseSpecialTokens { get; set; }

    public bool? AddGenerationPrompt { get; set; }

    public bool? ContinueFinalMessage { get; set; }

    public JsonElement? ChatTemplateKwargs { get; set; }

    public JsonElement? Tools { get; set; }

    public string? ReasoningEffort { get; set; }

    /// <summary>The answer holds the tokens' texts too.</summary>
    public bool? ReturnTokenStrs { get; set; }
}

/// <summary>Body of /detokenize.</summary>
public sealed class DetokenizeBody
{
    public string? Model { get; set; }

    public List<int>? Tokens { get; set; }

    /// <summary>Default false.</summary>
    public bool? SkipSpecialTokens { get; set; }
}
