using System.Text.Json;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>Bodies of Ollama's API in the words of the public proto.</summary>
internal static class OllamaTranslation
{
    private const string Latest = ":latest";

    private static readonly RefusedFields s_refused = new("adapter", "adapters", "lora", "logit_bias", "n", "best_of", "height", "steps", "width");

    // Options of a sampler that is another one; what they are where they change nothing.
    private static readonly Dictionary<string, Func<JsonElement, bool>> s_otherSampler = new()
    {
        ["mirostat"] = value => Is(value, 0),
        ["tfs_z"] = value => Is(value, 1),
        ["typical_p"] = value => Is(value, 1),
        ["repeat_last_n"] = value => Is(value, -1), // everything, as it is here
        ["penalize_newline"] = value => value.ValueKind == JsonValueKind.True,
    };

    /// <summary>What a chat asks beside its conversation.</summary>
    /// <exception cref="RequestRejectedException">A field is malformed or not served.</exception>
    public static ChatRequest ToProto(OllamaChatBody body, ServingModel model, int maxModelLen)
    {
        ChatRequest request = Asked(body, model, maxModelLen);
        ToolForms.Read(body.Tools, type: "function", nested: "function", schema: "parameters", request);
        return request;
    }

    /// <summary>What a generation asks beside its prompt.</summary>
    /// <exception cref="RequestRejectedException">A field is malformed or not served.</exception>
    public static ChatRequest ToProto(OllamaGenerateBody body, ServingModel model, int maxModelLen)
    {
        foreach ((string name, bool asks) in ((string, bool)[])
        [
            ("suffix", !string.IsNullOrEmpty(body.Suffix)), ("template", !string.IsNullOrEmpty(body.Template)),
            ("context", !RefusedFields.AsksForNothing(body.Context)), ("images", !RefusedFields.AsksForNothing(body.Images)),
        ])
            if (asks)
                throw RequestRejectedException.Unimplemented(name);
        if (body.Raw == true && !string.IsNullOrEmpty(body.System))
            throw RequestRejectedException.Invalid("system", "'system' and 'raw' exclude each other.");
        return Asked(body, model, maxModelLen);
    }

    /// <summary>The same for a prompt that goes to the model as it is.</summary>
    public static GenerateRequest Raw(ChatRequest asked, string prompt)
    {
        GenerateRequest request = new() { Text = prompt, Sampling = asked.Sampling, Stopping = asked.Stopping, Response = asked.Response };
        if (asked.Constraint is not null)
            request.Constraint = asked.Constraint;
        if (asked.HasModel)
            request.Model = asked.Model;
        if (asked.HasRequestId)
            request.RequestId = asked.RequestId;
        return request;
    }

    /// <summary>The conversation of a chat.</summary>
    /// <exception cref="RequestRejectedException">A message is malformed, or holds what is not served.</exception>
    public static Conversation Conversation(OllamaChatBody body)
    {
        ConversationBuilder conversation = new([]);
        foreach ((int index, OllamaMessageBody? message) in (body.Messages ?? []).Index())
            Message(message, $"messages[{index}]", conversation);
        return Of(conversation, body);
    }

    /// <summary>The conversation of a generation.</summary>
    public static Conversation Conversation(OllamaGenerateBody body)
    {
        ConversationBuilder conversation = new([]);
        if (!string.IsNullOrEmpty(body.System))
            conversation.Message("system", "system", [body.System], isList: false);
        conversation.Message("prompt", "user", [body.Prompt ?? ""], isList: false);
        return Of(conversation, body);
    }

    /// <summary>The model that a name means: a name without a tag is the latest.</summary>
    public static string? Served(string? name, ServingModel model) =>
        name is not null && name.EndsWith(Latest, StringComparison.Ordinal) && !model.Names.Contains(name) ? name[..^Latest.Length] : string.IsNullOrEmpty(name) ? null : name;

    private static ChatRequest Asked(OllamaBody body, ServingModel model, int maxModelLen)
    {
        s_refused.Refuse(body.Others);
        OllamaOptions options = body.Options ?? new OllamaOptions();
        if (options.NumCtx > maxModelLen)
            throw RequestRejectedException.OutOfRange("options.num_ctx", $"{options.NumCtx}", $"at most {maxModelLen}, the context that is served");
        foreach ((string name, JsonElement value) in options.Others ?? [])
            if (s_otherSampler.TryGetValue(name, out Func<JsonElement, bool>? changesNothing) && value.ValueKind != JsonValueKind.Null && !changesNothing(value))
                throw RequestRejectedException.Unimplemented($"options.{name}");
        ChatRequest request = new() { Sampling = options.Sampling, Stopping = options.Stopping, Response = new ResponseOptions() };
        if (body.TopLogprobs is > 0 || body.Logprobs == true)
            (request.Response.Logprobs, request.Response.TopLogprobs) = (true, body.TopLogprobs ?? 0);
        if (Served(body.Model, model) is { } name2)
            request.Model = name2;
        if (body.CallId is { } id)
            request.RequestId = id;
        if (Format(body.Format) is { } constraint)
            request.Constraint = constraint;
        return request;
    }

    private static Conversation Of(ConversationBuilder conversation, OllamaBody body)
    {
        IReadOnlyList<ConversationMessage> messages = conversation.Messages;
        return new Conversation { Messages = messages, ReasoningEffort = Effort(body.Think), Variables = Thinking(body.Think), RequestBytes = ConversationBuilder.BytesOf(messages) };
    }

    private static Dictionary<string, Value> Thinking(JsonElement? think) => think switch
    {
        null or { ValueKind: JsonValueKind.Null } => [],
        { ValueKind: JsonValueKind.True } => ThinkingVariables.Of(true),
        { ValueKind: JsonValueKind.False } => ThinkingVariables.Of(false),
        { ValueKind: JsonValueKind.String } => [],
        _ => throw RequestRejectedException.Invalid("think", "'think' must be true, false or a word."),
    };

    private static string? Effort(JsonElement? think) => think is { ValueKind: JsonValueKind.String } word ? JsonBody.Text(word, "think") : null;

    private static Constraint? Format(JsonElement? given) => given switch
    {
        null or { ValueKind: JsonValueKind.Null } => null,
        { ValueKind: JsonValueKind.Object } schema => new Constraint { JsonSchema = JsonBody.Raw(schema) },
        { ValueKind: JsonValueKind.String } word => JsonBody.Text(word, "format") switch
        {
            "" => null,
            "json" => new Constraint { JsonObject = true },
            _ => throw RequestRejectedException.OutOfRange("format", "another word", "json or a JSON Schema"),
        },
        _ => throw RequestRejectedException.Invalid("format", "'format' must be \"json\" or a JSON Schema."),
    };

    private static void Message(OllamaMessageBody? message, string field, ConversationBuilder conversation)
    {
        if (message is null)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
        if (!RefusedFields.AsksForNothing(message.Images))
            throw RequestRejectedException.Unimplemented($"{field}.images");
        if (message.Role == "tool")
        {
            conversation.Result(field, message.ToolCallId, message.ToolName, [message.Content ?? ""], isList: false);
            return;
        }
        if (!string.IsNullOrEmpty(message.Thinking) && message.Role == "assistant")
            conversation.Reasoning($"{field}.thinking", message.Thinking);
        conversation.Message(field, message.Role, [message.Content ?? ""], isList: false);
        foreach ((int index, OllamaToolCall? call) in (message.ToolCalls ?? []).Index())
        {
            string where = $"{field}.tool_calls[{index}].function";
            if (message.Role != "assistant")
                throw RequestRejectedException.Invalid($"{field}.tool_calls", $"'{field}.tool_calls' are an assistant's.");
            conversation.Call(where, call?.Id, call?.Function?.Name, call?.Function?.Arguments is { ValueKind: not JsonValueKind.Null } arguments ? JsonBody.Raw(arguments) : "{}");
        }
    }

    private static bool Is(JsonElement value, double number) => value.ValueKind == JsonValueKind.Number && value.GetDouble() == number;
}
