using System.Runtime.InteropServices;
using System.Text;
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
        ToolReader.Read(body.Tools, type: "function", nested: null, schema: "parameters", request);
        if (Choice(body.ToolChoice) is { } choice)
            request.ToolChoice = choice;
        ToolReader.Parallel(body.ParallelToolCalls, "parallel_tool_calls", request);
        return request;
    }

    private static void RefuseUnserved(ResponsesBody body)
    {
        if (body.Truncation is not (null or "disabled"))
            throw body.Truncation == "auto" ? RequestRejectedException.Unimplemented("truncation") : RequestRejectedException.OutOfRange("truncation", "another word", "disabled");
        if (body.Text?.Verbosity is not (null or "medium"))
            throw RequestRejectedException.Unimplemented("text.verbosity");
        if (body.Reasoning?.Summary is not (null or "auto"))
            throw RequestRejectedException.Unimplemented("reasoning.summary");
        foreach ((int index, string include) in (body.Include ?? []).Index())
            if (include != Logprobs)
                throw RequestRejectedException.Unimplemented($"include[{index}]");
        if (body.Metadata is { } metadata && (metadata.Count > MostMetadata || metadata.Any(pair => pair.Key.Length > LongestKey || pair.Value is null || pair.Value.Length > LongestValue)))
            throw RequestRejectedException.OutOfRange("metadata", $"{metadata.Count} pairs", $"at most {MostMetadata} pairs of strings of at most {LongestKey} and {LongestValue} characters");
    }

    private static Constraint? Format(JsonElement? given)
    {
        const string Field = "text.format";
        if (given is not { ValueKind: not JsonValueKind.Null } format)
            return null;
        ToolReader.RequireObject(format, Field);
        switch (ToolReader.Text(format, "type", Field))
        {
            case "text":
                return null;
            case "json_object":
                return new Constraint { JsonObject = true };
            case "json_schema":
                if (!format.TryGetProperty("schema", out JsonElement schema) || schema.ValueKind != JsonValueKind.Object)
                    throw RequestRejectedException.Invalid($"{Field}.schema", $"'{Field}.schema' must be an object.");
                return new Constraint { JsonSchema = Encoding.UTF8.GetString(JsonMarshal.GetRawUtf8Value(schema)) };
            case null:
                throw RequestRejectedException.Invalid($"{Field}.type", $"'{Field}.type' must be set.");
            default:
                throw RequestRejectedException.Unimplemented($"{Field}.type");
        }
    }

    private static ToolChoice? Choice(JsonElement? given)
    {
        if (given is not { ValueKind: not JsonValueKind.Null } choice)
            return null;
        if (choice.ValueKind == JsonValueKind.String)
            return JsonBody.Text(choice, "tool_choice") switch
            {
                "auto" => ToolReader.Choice(ToolChoice.Types.Mode.Auto),
                "none" => ToolReader.Choice(ToolChoice.Types.Mode.None),
                "required" => ToolReader.Choice(ToolChoice.Types.Mode.Required),
                _ => throw RequestRejectedException.OutOfRange("tool_choice", "another word", "none, auto, required or a function"),
            };
        ToolReader.RequireObject(choice, "tool_choice");
        if (ToolReader.Text(choice, "type", "tool_choice") != "function")
            throw RequestRejectedException.Unimplemented("tool_choice.type");
        return ToolReader.Choice(
            ToolChoice.Types.Mode.Function, ToolReader.Text(choice, "name", "tool_choice") ?? throw RequestRejectedException.Invalid("tool_choice.name", "'tool_choice.name' must be set."));
    }
}
