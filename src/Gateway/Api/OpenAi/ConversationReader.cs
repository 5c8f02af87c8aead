using System.Runtime.InteropServices;
using System.Text.Json;
using TpServe.ChatTemplates;
using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Requests;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>The conversation of an HTTP body: its JSON becomes the template's values at once, so that nothing of it is lost on the way.</summary>
internal static class ConversationReader
{
    public static Conversation Read(ChatBody body) => Read(body.Messages, body.AddGenerationPrompt, body.ContinueFinalMessage, body.ChatTemplateKwargs, body.Tools, body.ReasoningEffort);

    public static Conversation Read(TokenizeBody body) => Read(body.Messages, body.AddGenerationPrompt, body.ContinueFinalMessage, body.ChatTemplateKwargs, body.Tools, body.ReasoningEffort);

    private static Conversation Read(List<MessageBody?>? messages, bool? addGenerationPrompt, bool? continueFinal, JsonElement? variables, JsonElement? tools, string? effort) => new()
    {
        Messages = [.. (messages ?? []).Select((message, index) => Message(message, $"messages[{index}]"))],
        AddGenerationPrompt = addGenerationPrompt,
        ContinueFinalMessage = continueFinal ?? false,
        Variables = Variables(variables),
        Tools = ToolReader.Tools(tools),
        ReasoningEffort = effort,
        RequestBytes = Bytes(variables) + Bytes(tools) + (messages ?? []).Sum(message => Bytes(message?.Content) + Bytes(message?.ToolCalls) + (message?.ReasoningContent?.Length ?? 0)),
    };

    private static long Bytes(JsonElement? element) => element is { } given ? JsonMarshal.GetRawUtf8Value(given).Length : 0;

    private static Dictionary<string, Value> Variables(JsonElement? variables)
    {
        Dictionary<string, Value> values = [];
        if (variables is not { ValueKind: not JsonValueKind.Null } given)
            return values;
        if (given.ValueKind != JsonValueKind.Object)
            throw RequestRejectedException.Invalid("chat_template_kwargs", "'chat_template_kwargs' must be an object.");
        try
        {
            foreach (JsonProperty variable in given.EnumerateObject())
                values[variable.Name] = RequestValue.FromJson(variable.Value);
        }
        catch (ChatTemplateException fault)
        {
            throw RequestRejectedException.Invalid("chat_template_kwargs", $"'chat_template_kwargs' cannot be read: {fault.Message}");
        }
        return values;
    }

    private static ConversationMessage Message(MessageBody? body, string field)
    {
        if (body is null)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
        if (body.FunctionCall is { ValueKind: not JsonValueKind.Null })
            throw RequestRejectedException.Unimplemented($"{field}.function_call");
        return ConversationMessage.Create(
            field, body.Role, Content(body.Content, field), body.Name, body.ReasoningContent ?? body.Reasoning, body.ToolCallId, isList: body.Content is { ValueKind: JsonValueKind.Array }) with
        {
            ToolCalls = MessageToolCall.Of($"{field}.tool_calls", body.Role, ToolReader.Calls(body.ToolCalls, $"{field}.tool_calls")),
        };
    }

    private static List<string>? Content(JsonElement? content, string field)
    {
        if (content is not { ValueKind: not JsonValueKind.Null } given)
            return null;
        if (given.ValueKind == JsonValueKind.String)
            return [JsonBody.Text(given, $"{field}.content")];
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be a string or an array of parts.");
        List<string> texts = [];
        foreach (JsonElement part in given.EnumerateArray())
        {
            string where = $"{field}.content[{texts.Count}]";
            if (part.ValueKind != JsonValueKind.Object || !part.TryGetProperty("type", out JsonElement type) || type.ValueKind != JsonValueKind.String)
                throw RequestRejectedException.Invalid(where, $"'{where}' must be an object with a type.");
            if (!type.ValueEquals("text"))
                throw RequestRejectedException.Unimplemented($"{where}.type");
            if (!part.TryGetProperty("text", out JsonElement text) || text.ValueKind != JsonValueKind.String)
                throw RequestRejectedException.Invalid($"{where}.text", $"'{where}.text' must be a string.");
            texts.Add(JsonBody.Text(text, $"{where}.text"));
        }
        return texts;
    }
}
