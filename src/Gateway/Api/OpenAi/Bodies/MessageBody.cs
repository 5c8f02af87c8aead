using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>One message of a conversation.</summary>
public sealed class MessageBody
{
    public string? Role { get; init; }

    /// <summary>A string, or an array of parts of type text.</summary>
    public JsonElement? Content { get; init; }

    public string? Name { get; init; }

    public string? ReasoningContent { get; init; }

    public string? ToolCallId { get; init; }

    public JsonElement? ToolCalls { get; init; }
}
