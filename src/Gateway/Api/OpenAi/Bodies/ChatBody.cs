using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /v1/chat/completions.</summary>
public sealed class ChatBody : GenerationBody
{
    public List<MessageBody?>? Messages { get; set; }

    /// <summary>The newer name of max_tokens.</summary>
    public int? MaxCompletionTokens { get; set; }

    public bool? Logprobs { set => Set(value, given => Response.Logprobs = given); }

    public int? TopLogprobs { set => Set(value, given => Response.TopLogprobs = given); }

    /// <summary>Default true.</summary>
    public bool? AddGenerationPrompt { get; set; }

    /// <summary>Default false.</summary>
    public bool? ContinueFinalMessage { get; set; }

    /// <summary>Further variables of the chat template.</summary>
    public JsonElement? ChatTemplateKwargs { get; set; }

    /// <summary>Functions that the model may call.</summary>
    public JsonElement? Tools { get; set; }

    /// <summary>none, auto, required, or an object that names a function.</summary>
    public JsonElement? ToolChoice { get; set; }

    /// <summary>Default true.</summary>
    public bool? ParallelToolCalls { get; set; }

    /// <summary>none, minimal, low, medium or high.</summary>
    public string? ReasoningEffort { get; set; }

    /// <summary>Whether the answer says what the model thought. Default true.</summary>
    public bool? IncludeReasoning { get; set; }
}

/// <summary>One message of a conversation.</summary>
public sealed class MessageBody
{
    public string? Role { get; set; }

    /// <summary>A string, or an array of parts of type text.</summary>
    public JsonElement? Content { get; set; }

    public string? Name { get; set; }

    public string? ReasoningContent { get; set; }

    /// <summary>The newer name of reasoning_content.</summary>
    public string? Reasoning { get; set; }

    public string? ToolCallId { get; set; }

    public JsonElement? ToolCalls { get; set; }

    /// <summary>Refused: tool_calls took its place.</summary>
    public JsonElement? FunctionCall { get; set; }
}
