using System.Text.Json;

namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>One message of a conversation.</summary>
public sealed class MessageBody
{
    public string? Role { get; set; }

    /// <summary>A string, or an array of parts of type text.</summary>
    public JsonElement? Content { get; set; }

    public string? Name { get; set; }

    public string? ReasoningContent { get; set; }

    public string? ToolCallId { get; set; }

    public JsonElement? ToolCalls { get; set; }
}
