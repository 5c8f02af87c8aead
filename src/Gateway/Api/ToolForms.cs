using System.Text.Json;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api;

/// <summary>The functions a model may call, in the shapes of the dialects: nested as in a chat, flat, or with an input_schema.</summary>
internal static class ToolForms
{
    /// <summary>Reads a list of tools into a request.</summary>
    /// <param name="tools">The list; null = none.</param>
    /// <param name="type">The one type served; a tool without a type is of it.</param>
    /// <param name="nested">The member that holds the function; null = the tool itself is it.</param>
    /// <param name="schema">The member that holds the schema of the arguments.</param>
    /// <param name="into">Where they go.</param>
    /// <exception cref="RequestRejectedException">A tool is malformed, or of a type that is not served.</exception>
    public static void Read(JsonElement? tools, string type, string? nested, string schema, ChatRequest into)
    {
        if (RefusedFields.AsksForNothing(tools))
            return;
        if (tools!.Value.ValueKind != JsonValueKind.Array)
            throw RequestRejectedException.Invalid("tools", "'tools' must be an array.");
        foreach ((int index, JsonElement tool) in tools.Value.EnumerateArray().Index())
        {
            string field = $"tools[{index}]";
            JsonBody.RequireObject(tool, field);
            if (JsonBody.Text(tool, "type", field) is { } kind && kind != type)
                throw RefusedFields.Refusal($"{field}.type", kind);
            JsonElement function = tool;
            if (nested is not null)
            {
                field = $"{field}.{nested}";
                function = tool.TryGetProperty(nested, out JsonElement inner) ? inner : default;
                JsonBody.RequireObject(function, field);
            }
            Tool made = new() { Name = JsonBody.RequiredText(function, "name", field) };
            if (JsonBody.Text(function, "description", field) is { } description)
                made.Description = description;
            if (function.TryGetProperty(schema, out JsonElement parameters) && parameters.ValueKind != JsonValueKind.Null)
            {
                JsonBody.RequireObject(parameters, $"{field}.{schema}");
                made.ParametersJsonSchema = JsonBody.Raw(parameters);
            }
            if (function.TryGetProperty("strict", out JsonElement strict) && strict.ValueKind is JsonValueKind.True)
                made.Strict = true;
            into.Tools.Add(made);
        }
    }

    /// <summary>A choice among some of the tools: {"mode": "auto" or "required", "tools": […]}.</summary>
    /// <param name="choice">The object that holds both.</param>
    /// <param name="field">Its name in faults.</param>
    /// <param name="nested">The member of a tool that holds its name; null = the tool itself does.</param>
    /// <exception cref="RequestRejectedException">It is malformed, or names no tool.</exception>
    public static ToolChoice Allowed(JsonElement choice, string field, string? nested)
    {
        ToolChoice made = Choice(JsonBody.RequiredText(choice, "mode", field) switch
        {
            "auto" => ToolChoice.Types.Mode.Auto,
            "required" => ToolChoice.Types.Mode.Required,
            _ => throw RequestRejectedException.OutOfRange($"{field}.mode", "another word", "auto or required"),
        });
        if (!choice.TryGetProperty("tools", out JsonElement tools) || tools.ValueKind != JsonValueKind.Array || tools.GetArrayLength() == 0)
            throw RequestRejectedException.Invalid($"{field}.tools", $"'{field}.tools' must be an array of functions.");
        foreach ((int index, JsonElement tool) in tools.EnumerateArray().Index())
        {
            string where = $"{field}.tools[{index}]";
            JsonBody.RequireObject(tool, where);
            if (JsonBody.Text(tool, "type", where) is { } kind and not "function")
                throw RefusedFields.Refusal($"{where}.type", kind);
            JsonElement function = tool;
            if (nested is not null)
            {
                where = $"{where}.{nested}";
                function = tool.TryGetProperty(nested, out JsonElement inner) ? inner : default;
                JsonBody.RequireObject(function, where);
            }
            made.Allowed.Add(JsonBody.RequiredText(function, "name", where));
        }
        return made;
    }

    /// <summary>Whether a request must call, and what.</summary>
    public static ToolChoice Choice(ToolChoice.Types.Mode mode, string? name = null)
    {
        ToolChoice choice = new() { Mode = mode };
        if (name is not null)
            choice.Name = name;
        return choice;
    }
}
