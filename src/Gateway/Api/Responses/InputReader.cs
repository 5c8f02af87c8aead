using System.Text.Json;
using System.Text.Json.Nodes;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.Responses;

/// <summary>The input of a response: the messages that it means, and its items as they are told to who asks for them.</summary>
internal sealed class InputReader(ConversationBuilder conversation, string idTail)
{
    private readonly List<JsonObject> _items = [];

    /// <summary>The items, each with an id.</summary>
    public IReadOnlyList<JsonObject> Items => _items;

    /// <summary>Adds the whole input.</summary>
    /// <exception cref="RequestRejectedException">It is malformed, or an item is of a type that is not served.</exception>
    public void Read(JsonElement? input)
    {
        if (input is not { ValueKind: not JsonValueKind.Null } given)
            return; // a conversation may go on without a word of the user's
        if (given.ValueKind == JsonValueKind.String)
        {
            string text = JsonBody.Text(given, "input");
            conversation.Message("input", "user", [text], isList: false);
            _items.Add(new JsonObject { ["type"] = "message", ["id"] = Id("msg"), ["status"] = "completed", ["role"] = "user", ["content"] = Part("user", text) });
            return;
        }
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid("input", "'input' must be a string or an array of items.");
        foreach ((int index, JsonElement item) in given.EnumerateArray().Index())
            Item(item, $"input[{index}]");
    }

    private void Item(JsonElement item, string field)
    {
        JsonBody.RequireObject(item, field);
        string type = JsonBody.Text(item, "type", field) ?? "message"; // a message may leave it out
        JsonObject told = Told(item, field);
        told["type"] = type;
        switch (type)
        {
            case "message":
                Message(item, field, told);
                break;
            case "reasoning":
                Keep(told, "rs");
                if (item.TryGetProperty("content", out JsonElement thoughts) && thoughts.ValueKind != JsonValueKind.Null)
                    conversation.Reasoning($"{field}.content", string.Concat(Texts(thoughts, $"{field}.content", "reasoning_text")));
                break;
            case "function_call":
                Keep(told, "fc");
                conversation.Call(field, JsonBody.RequiredText(item, "call_id", field), JsonBody.Text(item, "name", field), JsonBody.Text(item, "arguments", field));
                break;
            case "function_call_output":
                Keep(told, "fco");
                if (!item.TryGetProperty("output", out JsonElement output))
                    throw RequestRejectedException.Invalid($"{field}.output", $"'{field}.output' must be set.");
                conversation.Result(field, JsonBody.RequiredText(item, "call_id", field), null, Texts(output, $"{field}.output", "input_text", "output_text"), output.ValueKind == JsonValueKind.Array);
                break;
            default:
                throw RefusedFields.Refusal($"{field}.type", type);
        }
    }

    private void Message(JsonElement item, string field, JsonObject told)
    {
        string? role = JsonBody.Text(item, "role", field);
        if (!item.TryGetProperty("content", out JsonElement content) || content.ValueKind == JsonValueKind.Null)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be set.");
        List<string> texts = Texts(content, $"{field}.content", "input_text", "output_text", "text");
        conversation.Message(field, role, texts, content.ValueKind == JsonValueKind.Array);
        if (content.ValueKind == JsonValueKind.String)
            told["content"] = Part(role!, texts[0]);
        Keep(told, "msg");
    }

    private static JsonObject Told(JsonElement item, string field)
    {
        try
        {
            JsonObject told = JsonObject.Create(item)!;
            _ = told.Count; // a name that comes twice is found when it is looked into
            return told;
        }
        catch (ArgumentException)
        {
            throw RequestRejectedException.Invalid(field, $"'{field}' has a member twice.");
        }
    }

    private void Keep(JsonObject item, string kind)
    {
        item["id"] ??= Id(kind);
        item["status"] ??= "completed";
        _items.Add(item);
    }

    private string Id(string kind) => $"{kind}_{idTail}in{_items.Count}";

    private static JsonArray Part(string role, string text) => [new JsonObject { ["type"] = role == "assistant" ? "output_text" : "input_text", ["text"] = text }];

    private static List<string> Texts(JsonElement content, string field, params ReadOnlySpan<string> types)
    {
        if (content.ValueKind == JsonValueKind.String)
            return [JsonBody.Text(content, field)];
        if (content.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be a string or an array of parts.");
        List<string> texts = [];
        foreach (JsonElement part in content.EnumerateArray())
        {
            string where = $"{field}[{texts.Count}]";
            JsonBody.RequireObject(part, where);
            string type = JsonBody.RequiredText(part, "type", where);
            texts.Add(types.Contains(type) ? JsonBody.RequiredText(part, "text", where) : throw RefusedFields.Refusal($"{where}.type", type));
        }
        return texts;
    }
}
