using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /v1/chat/completions.</summary>
public sealed class ChatBody : GenerationBody
{
    public List<MessageBody>? Messages { get; init; }

    public int? MaxCompletionTokens { get; init; }

    public bool? Logprobs { get; init; }

    public int? TopLogprobs { get; init; }

    /// <summary>Default true.</summary>
    public bool? AddGenerationPrompt { get; init; }

    /// <summary>Default false.</summary>
    public bool? ContinueFinalMessage { get; init; }

    /// <summary>Further variables of the chat template.</summary>
    public JsonElement? ChatTemplateKwargs { get; init; }
}
