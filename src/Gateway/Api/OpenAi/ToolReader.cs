using System.Text.Json;
using Grpc.Core;
using TpServe.ChatTemplates;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Tools, the choice among them and calls of earlier turns, in the words of OpenAI.</summary>
internal static class ToolReader
{
    /// <summary>The tools of a body; the template sees each as it is written here.</summary>
    /// <exception cref="RequestRejectedException">One is malformed, or of a kind that is not served.</exception>
    public static IReadOnlyList<ToolDefinition> Tools(JsonElement? tools)
    {
        if (tools is not { ValueKind: not JsonValueKind.Null } given)
            return [];
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid("tools", "'tools' must be an array.");
        JsonElement[] all = [.. given.EnumerateArray()];
        IReadOnlyList<ToolDefinition> read = ToolDefinition.Of([.. all.Select((tool, index) => Tool(tool, $"tools[{index}]"))]);
        return [.. read.Select((tool, index) => tool with { Written = Written(all[index], $"tools[{index}]") })];
    }

    /// <summary>tool_choice; null = not given.</summary>
    /// <exception cref="RequestRejectedException">It is none of those that are served.</exception>
    public static ToolChoice? Choice(JsonElement? choice)
    {
        const string Field = "tool_choice";
        switch (choice)
        {
            case null or { ValueKind: JsonValueKind.Null }:
                return null;
            case { ValueKind: JsonValueKind.String } word:
                return new ToolChoice
                {
                    Mode = JsonBody.Text(word, Field) switch
                    {
                        "none" => ToolChoice.Types.Mode.None,
                        "auto" => ToolChoice.Types.Mode.Auto,
                        "required" => ToolChoice.Types.Mode.Required,
                        var other => throw RequestRejectedException.OutOfRange(Field, $"'{(other.Length <= 32 ? other : other[..32] + "…")}'", "none, auto, required, or an object that names a function"),
                    },
                };
            case { ValueKind: JsonValueKind.Object } named:
                if (!named.TryGetProperty("type", out JsonElement type) || type.ValueKind != JsonValueKind.String)
                    throw RequestRejectedException.Invalid(Field, $"'{Field}' must be a word or an object with a type.");
                if (type.ValueEquals("allowed_tools"))
                    return ToolForms.Allowed(Object(named, "allowed_tools", Field), $"{Field}.allowed_tools", nested: "function");
                if (!type.ValueEquals("function"))
                    throw RequestRejectedException.Unimplemented($"{Field}.type");
                return new ToolChoice { Mode = ToolChoice.Types.Mode.Function, Name = JsonBody.Text(Object(named, "function", Field), "name", $"{Field}.function") ?? "" };
            default:
                throw RequestRejectedException.Invalid(Field, $"'{Field}' must be a word or an object with a type.");
        }
    }

    /// <summary>The calls of an assistant's message; arguments come as text, or as the object itself.</summary>
    public static IReadOnlyList<(string? Id, string? Name, string? Arguments)> Calls(JsonElement? calls, string field)
    {
        if (calls is not { ValueKind: not JsonValueKind.Null } given)
            return [];
        if (given.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid(field, $"'{field}' must be an array.");
        return [.. given.EnumerateArray().Select((call, index) =>
        {
            string where = $"{field}[{index}]";
            RequireFunction(call, where);
            JsonElement function = Object(call, "function", where);
            string? arguments = function.TryGetProperty("arguments", out JsonElement written) && written.ValueKind == JsonValueKind.Object ? JsonBody.Raw(written) : JsonBody.Text(function, "arguments", $"{where}.function");
            return (JsonBody.Text(call, "id", where), JsonBody.Text(function, "name", $"{where}.function"), arguments);
        })];
    }

    private static Tool Tool(JsonElement tool, string field)
    {
        RequireFunction(tool, field);
        JsonElement function = Object(tool, "function", field);
        field += ".function";
        Tool read = new();
        if (JsonBody.Text(function, "name", field) is { } name)
            read.Name = name;
        if (JsonBody.Text(function, "description", field) is { } description)
            read.Description = description;
        if (function.TryGetProperty("parameters", out JsonElement parameters) && parameters.ValueKind != JsonValueKind.Null)
            read.ParametersJsonSchema = JsonBody.Raw(parameters);
        if (function.TryGetProperty("strict", out JsonElement strict) && strict.ValueKind != JsonValueKind.Null)
            read.Strict = strict.ValueKind is JsonValueKind.True or JsonValueKind.False
                ? strict.GetBoolean()
                : throw RequestRejectedException.Invalid($"{field}.strict", $"'{field}.strict' must be true or false.");
        return read;
    }

    private static void RequireFunction(JsonElement element, string field)
    {
        JsonBody.RequireObject(element, field);
        if (JsonBody.Text(element, "type", field) is { } type and not "function")
            throw new RequestRejectedException(StatusCode.Unimplemented, "FIELD_NOT_IMPLEMENTED", $"'{field}.type' is not implemented in this release but for 'function'.", $"{field}.type", type.Length <= 32 ? type : null);
    }

    private static JsonElement Object(JsonElement element, string name, string field) =>
        element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Object
            ? value
            : throw RequestRejectedException.Invalid($"{field}.{name}", $"'{field}.{name}' must be an object.");

    private static ChatTemplates.Values.Value Written(JsonElement tool, string field)
    {
        try
        {
            return RequestValue.FromJson(tool);
        }
        catch (ChatTemplateException fault)
        {
            throw RequestRejectedException.Invalid(field, $"'{field}' cannot be read: {fault.Message}");
        }
    }
}
