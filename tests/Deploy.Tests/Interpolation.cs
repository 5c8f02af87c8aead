using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace TpServe.Deploy.Tests;

/// <summary>${VARIABLE:-default} as docker compose fills it in.</summary>
internal static partial class Interpolation
{
    /// <summary>One use of a variable; no default = it would have to be set.</summary>
    internal readonly record struct Use(string Name, string? Default);

    /// <summary>Every variable that a text names.</summary>
    public static IEnumerable<Use> Uses(string text) =>
        Variable().Matches(text).Select(match => new Use(match.Groups["name"].Value, match.Groups["default"] is { Success: true } given ? given.Value : null));

    /// <summary>The text with variables replaced: by what is given, else by the default, else by nothing.</summary>
    public static string Fill(string text, IReadOnlyDictionary<string, string> values) =>
        Variable().Replace(text, match => values.TryGetValue(match.Groups["name"].Value, out string? value) && value.Length > 0 ? value : match.Groups["default"].Value);

    /// <summary>Fills in every string of a tree, and nothing else.</summary>
    public static JsonNode? Fill(JsonNode? node, IReadOnlyDictionary<string, string> values) => node switch
    {
        JsonObject map => new JsonObject(map.Select(item => KeyValuePair.Create(item.Key, Fill(item.Value, values)))),
        JsonArray list => new JsonArray([.. list.Select(item => Fill(item, values))]),
        JsonValue value when value.TryGetValue(out string? text) => JsonValue.Create(Fill(text, values)),
        _ => node?.DeepClone(),
    };

    /// <summary>NAME=value lines, the commented ones left out.</summary>
    public static Dictionary<string, string> ReadEnvironment(string text)
    {
        Dictionary<string, string> values = [];
        foreach (string line in text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0 && line[0] != '#'))
            values.Add(line[..line.IndexOf('=')], line[(line.IndexOf('=') + 1)..]);
        return values;
    }

    [GeneratedRegex(@"(?<!\$)\$(\{(?<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?<default>[^}]*))?\}|(?<name>[A-Za-z_][A-Za-z0-9_]*))")]
    private static partial Regex Variable();
}
