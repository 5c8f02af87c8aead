using System.Text.Encodings.Web;
using System.Text.Json;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Answers;

/// <summary>The tools of a request as their calls are read: which there are, and what their arguments are.</summary>
internal sealed class ToolArguments
{
    private readonly Dictionary<string, Dictionary<string, bool>> _texts = []; // by tool and argument: whether it is always a text

    /// <param name="tools">What can be called.</param>
    public ToolArguments(IEnumerable<ToolDefinition> tools)
    {
        foreach (ToolDefinition tool in tools)
            _texts[tool.Name] = Texts(tool.Parameters);
    }

    /// <summary>Whether there is such a tool.</summary>
    public bool Has(string name) => _texts.ContainsKey(name);

    /// <summary>An argument that was written as it is, as JSON: what its schema says to be text is a string, all else what it reads as.</summary>
    public string Value(string tool, string argument, string written)
    {
        bool isText = _texts.TryGetValue(tool, out Dictionary<string, bool>? texts) && texts.GetValueOrDefault(argument);
        return isText || !IsJson(written) ? Quoted(written) : written.Trim();
    }

    /// <summary>A JSON string of a text.</summary>
    public static string Quoted(string text) => $"\"{JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(text)}\"";

    /// <summary>The text of a JSON string; null where it is none.</summary>
    public static string? TextOf(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind == JsonValueKind.String ? document.RootElement.GetString() : null;
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException) // the latter: half of a surrogate pair
        {
            return null;
        }
    }

    /// <summary>The members of a JSON object: texts as they are, all else as JSON.</summary>
    public static IReadOnlyList<(string Key, string Value)> Members(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return [.. document.RootElement.EnumerateObject().Select(member => (member.Name, member.Value.ValueKind == JsonValueKind.String ? member.Value.GetString()! : member.Value.GetRawText()))];
    }

    /// <summary>Whether a text is a JSON object.</summary>
    public static bool IsObject(string json) => Kind(json) == JsonValueKind.Object;

    private static bool IsJson(string json) => Kind(json) is not JsonValueKind.Undefined;

    private static JsonValueKind Kind(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind;
        }
        catch (JsonException)
        {
            return JsonValueKind.Undefined;
        }
    }

    private static Dictionary<string, bool> Texts(string? schema)
    {
        Dictionary<string, bool> texts = [];
        if (schema is null)
            return texts;
        using JsonDocument document = JsonDocument.Parse(schema);
        if (document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("properties", out JsonElement properties) && properties.ValueKind == JsonValueKind.Object)
            foreach (JsonProperty property in properties.EnumerateObject())
                texts[property.Name] = IsText(property.Value);
        return texts;
    }

    private static bool IsText(JsonElement schema) =>
        schema.ValueKind == JsonValueKind.Object
        && ((schema.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.ValueEquals("string"))
            || (schema.TryGetProperty("enum", out JsonElement values) && values.ValueKind == JsonValueKind.Array && values.EnumerateArray().All(value => value.ValueKind == JsonValueKind.String)));
}
