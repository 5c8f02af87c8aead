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

    /// <summary>Whether a request must call, and what.</summary>
    public static ToolChoice Choice(ToolChoice.Types.Mode mode, string? name = null)
    {
        ToolChoice choice = new() { Mode = mode };
        if (name is not null)
            choice.Name = name;
        return choice;
    }
}
