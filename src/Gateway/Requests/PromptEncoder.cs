using System.Globalization;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using TpServe.ChatTemplates;
using TpServe.Protos.V1;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>Text and conversations to token ids. Text of the request becomes a special token only where the request says so.</summary>
public sealed class PromptEncoder(ServingModel model, RequestLimits limits, TimeProvider clock)
{
    /// <summary>Roles are a closed set, so templates may build special tokens out of their names.</summary>
    private static readonly HashSet<string> s_roles = ["system", "developer", "user", "assistant", "tool"];

    /// <summary>Tokens of a text.</summary>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens, bool parseSpecialTokens)
    {
        Utf8Text.Require("text", text);
        return model.Tokenizer.Encode(text, addSpecialTokens, parseSpecialTokens);
    }

    /// <summary>Tokens of a conversation laid out by the model's template, which writes the bos token itself.</summary>
    /// <exception cref="RequestRejectedException">The conversation is malformed, the template refuses it, or the model has none.</exception>
    public IReadOnlyList<int> Encode(ChatRequest chat, CancellationToken cancellation)
    {
        if (model.ChatTemplate is null)
            throw new RequestRejectedException(
                StatusCode.FailedPrecondition, "NO_CHAT_TEMPLATE", $"Model '{model.Name}' has no chat template; use Generate or /v1/completions.");
        RenderedPrompt prompt;
        try
        {
            prompt = model.ChatTemplate.Render(Input(chat), RenderLimits.Default, cancellation);
        }
        catch (ChatTemplateException fault)
        {
            throw RequestRejectedException.Invalid("messages", $"The model's chat template did not render: {fault.Message}");
        }
        TextSegment[] segments = [.. prompt.Segments.Select(segment => new TextSegment(segment.Text, segment.FromTemplate))];
        return model.Tokenizer.Encode(segments, addSpecialTokens: false);
    }

    private ChatTemplateInput Input(ChatRequest chat)
    {
        if (chat.Messages.Count == 0 || chat.Messages.Count > limits.Messages)
            throw RequestRejectedException.OutOfRange(
                "messages", chat.Messages.Count.ToString(CultureInfo.InvariantCulture), $"1 to {limits.Messages} messages");
        bool continues = chat.ContinueFinalMessage;
        if (continues && chat is { HasAddGenerationPrompt: true, AddGenerationPrompt: true })
            throw RequestRejectedException.Invalid("continue_final_message", "'continue_final_message' and 'add_generation_prompt' exclude each other.");
        return new ChatTemplateInput
        {
            Messages = Messages(chat),
            AddGenerationPrompt = chat.HasAddGenerationPrompt ? chat.AddGenerationPrompt : !continues,
            ContinueFinalMessage = continues,
            BosToken = model.BosToken,
            EosToken = model.EosToken,
            Extra = Variables(chat),
            Now = clock.GetLocalNow(),
            TrustedRoles = s_roles,
        };
    }

    private static JsonElement Messages(ChatRequest chat)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartArray();
            for (int i = 0; i < chat.Messages.Count; i++)
                WriteMessage(writer, chat.Messages[i], $"messages[{i}]");
            writer.WriteEndArray();
        }
        using JsonDocument document = JsonDocument.Parse(buffer.GetBuffer().AsMemory(0, (int)buffer.Length));
        return document.RootElement.Clone();
    }

    private static void WriteMessage(Utf8JsonWriter writer, ChatMessage message, string field)
    {
        string role = message.Role switch
        {
            ChatRole.System => "system",
            ChatRole.Developer => "developer",
            ChatRole.User => "user",
            ChatRole.Assistant => "assistant",
            ChatRole.Tool => "tool",
            _ => throw RequestRejectedException.OutOfRange($"{field}.role", message.Role.ToString(), "system, developer, user, assistant or tool"),
        };
        if (message.ToolCalls.Count > 0)
            throw RequestRejectedException.Unimplemented($"{field}.tool_calls");
        if (!message.HasContent)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be set.");
        writer.WriteStartObject();
        writer.WriteString("role", role);
        WriteText(writer, "content", message.Content, field);
        if (message.HasName)
            WriteText(writer, "name", message.Name, field);
        if (message.HasReasoning)
            WriteText(writer, "reasoning_content", message.Reasoning, field);
        if (message.HasToolCallId)
            WriteText(writer, "tool_call_id", message.ToolCallId, field);
        writer.WriteEndObject();
    }

    private static void WriteText(Utf8JsonWriter writer, string name, string text, string field)
    {
        Utf8Text.Require($"{field}.{name}", text);
        writer.WriteString(name, text);
    }

    private static Dictionary<string, JsonElement> Variables(ChatRequest chat)
    {
        Dictionary<string, JsonElement> variables = [];
        if (chat.TemplateVariables is null)
            return variables;
        try
        {
            using JsonDocument document = JsonDocument.Parse(JsonFormatter.Default.Format(chat.TemplateVariables));
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
                variables[property.Name] = property.Value.Clone();
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException or ArgumentException) // NaN, half surrogates, too deep
        {
            throw RequestRejectedException.Invalid("template_variables", $"'template_variables' is not JSON: {fault.Message}");
        }
        return variables;
    }
}
