using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /tokenize: a prompt or a conversation.</summary>
public sealed class TokenizeBody
{
    public string? Model { get; init; }

    public string? Prompt { get; init; }

    public List<MessageBody>? Messages { get; init; }

    /// <summary>Prompts: default true. Conversations: the template writes them.</summary>
    public bool? AddSpecialTokens { get; init; }

    /// <summary>Default false: the text of a special token is only text.</summary>
    public bool? ParseSpecialTokens { get; init; }

    public bool? AddGenerationPrompt { get; init; }

    public bool? ContinueFinalMessage { get; init; }

    public JsonElement? ChatTemplateKwargs { get; init; }

    /// <summary>The answer holds the tokens' texts too.</summary>
    public bool? ReturnTokenStrs { get; init; }
}
