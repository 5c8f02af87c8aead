using System.Text.Json;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Responses;

/// <summary>The body of /v1/responses in the words of the public proto.</summary>
internal static class ResponsesTranslation
{
    private const int MostMetadata = 16, LongestKey = 64, LongestValue = 512; // OpenAI's limits
    private const string Logprobs = "message.output_text.logprobs";

    private static readonly RefusedFields s_refused = new(
        "background", "context_management", "conversation", "chat_template_kwargs", "echo", "function_call", "functions", "guided_json", "guided_regex",
        "guided_choice", "guided_grammar", "logits_processors", "lora", "max_tokens", "max_completion_tokens", "messages", "modalities", "n", "prompt", "response_format", "stop",
        "structured_outputs", "suffix", "use_beam_search", "web_search_options");

    /// <summary>What the body asks beside its conversation.</summary>
    /// <exception cref="RequestRejectedException">A field is malformed or not served.</exception>
    public static ChatRequest ToProto(ResponsesBody body)
    {
        s_refused.Refuse(body.Others);
        RefuseUnserved(body);
        if (body.TopLogprobs is > 0 || body.Include?.Contains(Logprobs) == true)
            (body.Response.Logprobs, body.Response.TopLogprobs) = (true, body.TopLogprobs ?? 0);
        ChatRequest request = body.ToChat();
        if (Format(body.Text?.Format) is { } constraint)
            request.Constraint = constraint;
        ToolForms.Read(body.Tools, type: "function", nested: null, schema: "parameters", request);
        if (Choice(body.ToolChoice) is { } choice)
            request.ToolChoice = choice;
        if (body.ParallelToolCalls is { } parallel)
            request.ParallelToolCalls = parallel;
        return request;
    }

    private static void RefuseUnserved(ResponsesBody body)
    {
        if (body.Truncation is not (null or "disabled"))
            throw RefusedFields.Refusal("truncation", body.Truncation);
        if (body.Text?.Verbosity is not (null or "medium"))
            throw RefusedFields.Refusal("text.verbosity", body.Text.Verbosity);
        if (body.Reasoning?.Summary is not (null or "auto"))
            throw RefusedFields.Refusal("reasoning.summary", body.Reasoning.Summary);
        foreach ((int index, string? include) in (body.Include ?? []).Index())
            if (include is null)
                throw RequestRejectedException.Invalid($"include[{index}]", $"'include[{index}]' must be a string.");
            else if (include != Logprobs)
                throw RefusedFields.Refusal($"include[{index}]", include);
        if (body.Metadata is { } metadata && (metadata.Count > MostMetadata || metadata.Any(pair => pair.Key.Length > LongestKey || pair.Value is null || pair.Value.Length > LongestValue)))
            throw RequestRejectedException.OutOfRange("metadata", $"{metadata.Count} pairs", $"at most {MostMetadata} pairs of strings of at most {LongestKey} and {LongestValue} characters");
    }

    private static Constraint? Format(JsonElement? given)
    {
        const string Field = "text.format";
        if (given is not { ValueKind: not JsonValueKind.Null } format)
            return null;
        JsonBody.RequireObject(format, Field);
        switch (JsonBody.RequiredText(format, "type", Field))
        {
            case "text":
                return null;
            case "json_object":
                return new Constraint { JsonObject = true };
            case "json_schema":
                if (!format.TryGetProperty("schema", out JsonElement schema) || schema.ValueKind != JsonValueKind.Object)
                    throw RequestRejectedException.Invalid($"{Field}.schema", $"'{Field}.schema' must be an object.");
                return new Constraint { JsonSchema = JsonBody.Raw(schema) };
            case var type:
                throw RefusedFields.Refusal($"{Field}.type", type);
        }
    }

    private static ToolChoice? Choice(JsonElement? given)
    {
        if (given is not { ValueKind: not JsonValueKind.Null } choice)
            return null;
        if (choice.ValueKind == JsonValueKind.String)
            return JsonBody.Text(choice, "tool_choice") switch
            {
                "auto" => ToolForms.Choice(ToolChoice.Types.Mode.Auto),
                "none" => ToolForms.Choice(ToolChoice.Types.Mode.None),
                "required" => ToolForms.Choice(ToolChoice.Types.Mode.Required),
                _ => throw RequestRejectedException.OutOfRange("tool_choice", "another word", "none, auto, required or a function"),
            };
        JsonBody.RequireObject(choice, "tool_choice");
        string type = JsonBody.RequiredText(choice, "type", "tool_choice");
        if (type == "allowed_tools")
            return ToolForms.Allowed(choice, "tool_choice", nested: null);
        return type == "function"
            ? ToolForms.Choice(ToolChoice.Types.Mode.Function, JsonBody.RequiredText(choice, "name", "tool_choice")) : throw RefusedFields.Refusal("tool_choice.type", type);
    }
}
