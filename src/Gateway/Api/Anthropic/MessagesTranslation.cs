using System.Text.Json;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Api.Anthropic;

/// <summary>The body of /v1/messages in the words of the public proto, and its turns as a conversation.</summary>
internal static class MessagesTranslation
{
    private static readonly RefusedFields s_refused = new(
        "chat_template_kwargs", "container", "context_management", "echo", "guided_choice", "guided_grammar", "guided_json", "guided_regex", "logits_processors", "logprobs", "lora",
        "max_completion_tokens", "mcp_servers", "n", "output_format", "prompt", "response_format", "stop", "structured_outputs", "suffix", "top_logprobs", "use_beam_search");

    /// <summary>What the body asks beside its conversation.</summary>
    /// <exception cref="RequestRejectedException">A field is malformed or not served.</exception>
    public static ChatRequest ToProto(MessagesBody body)
    {
        s_refused.Refuse(body.Others);
        ChatRequest request = body.ToChat();
        if (Format(body.OutputConfig?.Format) is { } constraint)
            request.Constraint = constraint;
        ToolForms.Read(body.Tools, type: "custom", nested: null, schema: "input_schema", request);
        if (body.ToolChoice is { } choice)
        {
            request.ToolChoice = choice.Type switch
            {
                "auto" => ToolForms.Choice(ToolChoice.Types.Mode.Auto),
                "any" => ToolForms.Choice(ToolChoice.Types.Mode.Required),
                "none" => ToolForms.Choice(ToolChoice.Types.Mode.None),
                "tool" => ToolForms.Choice(ToolChoice.Types.Mode.Function, choice.Name ?? throw RequestRejectedException.Invalid("tool_choice.name", "'tool_choice.name' must be set.")),
                _ => throw RequestRejectedException.OutOfRange("tool_choice.type", choice.Type is null ? "not given" : "another word", "auto, any, tool or none"),
            };
            if (choice.DisableParallelToolUse is { } disable)
                request.ParallelToolCalls = !disable;
        }
        return request;
    }

    /// <summary>The conversation of the body with the tools that it shows the model.</summary>
    public static Conversation WithTools(MessagesBody body, ChatRequest request) =>
        Conversation(body) with { Tools = request.ToolChoice?.Mode == ToolChoice.Types.Mode.None ? [] : ToolDefinition.Of(request.Tools) };

    /// <summary>The conversation of the body.</summary>
    /// <exception cref="RequestRejectedException">A turn is malformed, or holds what is not served.</exception>
    public static Conversation Conversation(MessagesBody body)
    {
        ConversationBuilder conversation = new([]);
        if (body.System is { ValueKind: not JsonValueKind.Null } system)
            conversation.Message("system", "system", Texts(system, "system"), system.ValueKind == JsonValueKind.Array);
        foreach ((int index, TurnBody? turn) in (body.Messages ?? []).Index())
            Turn(turn, $"messages[{index}]", conversation);
        IReadOnlyList<ConversationMessage> messages = conversation.Messages;
        bool goesOn = messages is [.., { Role: "assistant", ToolCalls.Count: 0 }];
        return new Conversation
        {
            Messages = messages,
            ContinueFinalMessage = goesOn,
            ReasoningEffort = body.OutputConfig?.Effort,
            Variables = Thinking(body),
            RequestBytes = ConversationBuilder.BytesOf(messages),
        };
    }

    private static Dictionary<string, Value> Thinking(MessagesBody body)
    {
        if (body.Thinking is not { } thinking)
            return [];
        bool? thinks = thinking.Type switch
        {
            "enabled" => true,
            "disabled" => false,
            "adaptive" => null,
            _ => throw RequestRejectedException.OutOfRange("thinking.type", thinking.Type is null ? "not given" : "another word", "enabled, disabled or adaptive"),
        };
        if (thinking.BudgetTokens < 1)
            throw RequestRejectedException.OutOfRange("thinking.budget_tokens", $"{thinking.BudgetTokens}", "1 or more");
        return ThinkingVariables.Of(thinks, thinks == true ? thinking.BudgetTokens : null);
    }

    private static Constraint? Format(JsonElement? given)
    {
        const string Field = "output_config.format";
        if (given is not { ValueKind: not JsonValueKind.Null } format)
            return null;
        JsonBody.RequireObject(format, Field);
        if (JsonBody.RequiredText(format, "type", Field) is not "json_schema" and var type)
            throw RefusedFields.Refusal($"{Field}.type", type);
        if (!format.TryGetProperty("schema", out JsonElement schema) || schema.ValueKind != JsonValueKind.Object)
            throw RequestRejectedException.Invalid($"{Field}.schema", $"'{Field}.schema' must be an object.");
        return new Constraint { JsonSchema = JsonBody.Raw(schema) };
    }

    private static void Turn(TurnBody? turn, string field, ConversationBuilder conversation)
    {
        if (turn is null)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an object.");
        if (turn.Role is not ("user" or "assistant" or "system"))
            throw RequestRejectedException.OutOfRange($"{field}.role", turn.Role is null ? "not given" : "another word", "user or assistant");
        if (turn.Content is not { } content || content.ValueKind is not (JsonValueKind.String or JsonValueKind.Array))
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must be a string or an array of blocks.");
        if (content.ValueKind == JsonValueKind.String)
        {
            string text = JsonBody.Text(content, $"{field}.content");
            if (!conversation.TryMerge(field, turn.Role, [text])) // turns of one speaker are one turn
                conversation.Message(field, turn.Role, [text], isList: false);
            return;
        }

        // Texts that follow one another are one message; a result is one of its own, a call belongs to the assistant's message before it.
        List<string> texts = [];
        int at = 0;
        foreach (JsonElement block in content.EnumerateArray())
        {
            string where = $"{field}.content[{at++}]";
            JsonBody.RequireObject(block, where);
            switch (JsonBody.RequiredText(block, "type", where), turn.Role)
            {
                case ("text", _):
                    texts.Add(JsonBody.RequiredText(block, "text", where));
                    break;
                case ("thinking", "assistant"):
                    Flush();
                    conversation.Reasoning($"{where}.thinking", JsonBody.RequiredText(block, "thinking", where));
                    break;
                case ("redacted_thinking", "assistant"): // nobody can read it here
                    break;
                case ("tool_use", "assistant"):
                    Flush();
                    if (!block.TryGetProperty("input", out JsonElement input))
                        throw RequestRejectedException.Invalid($"{where}.input", $"'{where}.input' must be set.");
                    JsonBody.RequireObject(input, $"{where}.input");
                    conversation.Call(where, JsonBody.RequiredText(block, "id", where), JsonBody.RequiredText(block, "name", where), JsonBody.Raw(input));
                    break;
                case ("tool_result", "user"):
                    Flush();
                    bool has = block.TryGetProperty("content", out JsonElement result) && result.ValueKind != JsonValueKind.Null;
                    conversation.Result(where, JsonBody.RequiredText(block, "tool_use_id", where), null, has ? Texts(result, $"{where}.content") : [""], has && result.ValueKind == JsonValueKind.Array);
                    break;
                case (var type, _):
                    throw RefusedFields.Refusal($"{where}.type", type);
            }
        }
        if (at == 0)
            throw RequestRejectedException.Invalid($"{field}.content", $"'{field}.content' must not be empty.");
        Flush();

        void Flush()
        {
            if (texts.Count > 0 && !conversation.TryMerge(field, turn.Role, texts))
                conversation.Message(field, turn.Role, [.. texts], isList: true);
            texts = [];
        }
    }

    private static List<string> Texts(JsonElement content, string field)
    {
        if (content.ValueKind == JsonValueKind.String)
            return [JsonBody.Text(content, field)];
        if (content.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be a string or an array of blocks.");
        List<string> texts = [];
        foreach (JsonElement block in content.EnumerateArray())
        {
            string where = $"{field}[{texts.Count}]";
            JsonBody.RequireObject(block, where);
            string type = JsonBody.RequiredText(block, "type", where);
            texts.Add(type == "text" ? JsonBody.RequiredText(block, "text", where) : throw RefusedFields.Refusal($"{where}.type", type));
        }
        return texts.Count > 0 ? texts : [""];
    }
}
