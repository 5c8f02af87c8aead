using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using TpServe.Protos.V1;

namespace TpServe.Client.Ai;

/// <summary>Messages of Microsoft.Extensions.AI as messages of a request; each result of a function becomes a message of its own.</summary>
internal static class ConversationMapping
{
    private static readonly JsonSerializerOptions s_compact = new(AIJsonUtilities.DefaultOptions) { WriteIndented = false }; // every blank is a token

    /// <summary>Appends the conversation.</summary>
    /// <exception cref="NotSupportedException">A content that the server has no word for.</exception>
    public static void AddTo(ChatRequest request, IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages)
    {
        Dictionary<string, string> called = []; // a result names its call; templates show the function's name
        foreach (Microsoft.Extensions.AI.ChatMessage message in messages)
            Add(request, message, called);
    }

    private static void Add(ChatRequest request, Microsoft.Extensions.AI.ChatMessage message, Dictionary<string, string> called)
    {
        Protos.V1.ChatMessage turn = new();
        SetRole(turn, message.Role);
        if (message.AuthorName is { Length: > 0 } name)
            turn.Name = name;
        StringBuilder? text = null, reasoning = null;
        bool hasResults = false;
        foreach (AIContent content in message.Contents)
            switch (content)
            {
                case TextContent said:
                    (text ??= new StringBuilder()).Append(said.Text);
                    break;
                case TextReasoningContent { ProtectedData: null } thought when message.Role == Microsoft.Extensions.AI.ChatRole.Assistant:
                    (reasoning ??= new StringBuilder()).Append(thought.Text);
                    break;
                case FunctionCallContent call when message.Role == Microsoft.Extensions.AI.ChatRole.Assistant:
                    called[call.CallId] = call.Name;
                    turn.ToolCalls.Add(Call(call, turn.ToolCalls.Count));
                    break;
                case FunctionResultContent result:
                    hasResults = true;
                    request.Messages.Add(Result(result, called));
                    break;
                case UsageContent: // counts, nothing that was said
                    break;
                default:
                    throw new NotSupportedException($"A message of role \"{message.Role}\" holds {Name(content)}, which cannot be sent to TpServe.");
            }
        if (hasResults && text is null && reasoning is null && turn.ToolCalls.Count == 0)
            return;
        if (text is not null || turn.ToolCalls.Count == 0)
            turn.Content = text?.ToString() ?? "";
        if (reasoning is not null)
            turn.Reasoning = reasoning.ToString();
        request.Messages.Add(turn);
    }

    private static void SetRole(Protos.V1.ChatMessage turn, Microsoft.Extensions.AI.ChatRole role)
    {
        turn.Role = role.Value switch
        {
            "system" => Protos.V1.ChatRole.System,
            "developer" => Protos.V1.ChatRole.Developer,
            "user" => Protos.V1.ChatRole.User,
            "assistant" => Protos.V1.ChatRole.Assistant,
            "tool" => Protos.V1.ChatRole.Tool,
            _ => Protos.V1.ChatRole.Unspecified,
        };
        if (turn.Role == Protos.V1.ChatRole.Unspecified)
            turn.RoleName = role.Value;
    }

    // A call that came from the server goes back in its own words; arguments that were no JSON had no other form.
    private static ToolCall Call(FunctionCallContent call, int index) => new()
    {
        Id = call.CallId,
        Name = call.Name,
        Arguments = call.RawRepresentation is ToolCall own ? own.Arguments : JsonSerializer.Serialize(call.Arguments ?? new Dictionary<string, object?>(), s_compact),
        Index = index,
    };

    private static Protos.V1.ChatMessage Result(FunctionResultContent result, Dictionary<string, string> called)
    {
        Protos.V1.ChatMessage turn = new()
        {
            Role = Protos.V1.ChatRole.Tool,
            ToolCallId = result.CallId,
            Content = result switch
            {
                { Result: string text } => text,
                { Result: JsonElement { ValueKind: JsonValueKind.String } text } => text.GetString(),
                { Result: null, Exception: { } fault } => $"Error: {fault.Message}",
                _ => JsonSerializer.Serialize(result.Result, s_compact),
            },
        };
        if (called.TryGetValue(result.CallId, out string? name))
            turn.Name = name;
        return turn;
    }

    private static string Name(AIContent content) => content switch
    {
        DataContent data => $"{nameof(DataContent)} ({data.MediaType})",
        UriContent uri => $"{nameof(UriContent)} ({uri.MediaType})",
        TextReasoningContent { ProtectedData: not null } => $"{nameof(TextReasoningContent)} with ProtectedData",
        _ => content.GetType().Name,
    };
}
