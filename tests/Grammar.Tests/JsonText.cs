using System.Globalization;
using System.Text;
using System.Text.Json;

namespace TpServe.Grammar.Tests;

/// <summary>Writes values as a model would: the characters themselves where JSON allows it, with or without a space after ':' and ','.</summary>
internal static class JsonText
{
    public static string Write(JsonElement value, bool spaced)
    {
        StringBuilder text = new();
        Write(value, spaced ? " " : "", text);
        return text.ToString();
    }

    private static void Write(JsonElement value, string space, StringBuilder text)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                WriteString(value.GetString()!, text);
                break;
            case JsonValueKind.Array:
                text.Append('[');
                foreach ((int index, JsonElement item) in value.EnumerateArray().Index())
                {
                    text.Append(index > 0 ? "," + space : "");
                    Write(item, space, text);
                }
                text.Append(']');
                break;
            case JsonValueKind.Object:
                text.Append('{');
                foreach ((int index, JsonProperty property) in value.EnumerateObject().Index())
                {
                    text.Append(index > 0 ? "," + space : "");
                    WriteString(property.Name, text);
                    text.Append(':').Append(space);
                    Write(property.Value, space, text);
                }
                text.Append('}');
                break;
            default:
                text.Append(value.GetRawText());
                break;
        }
    }

    private static void WriteString(string value, StringBuilder text)
    {
        text.Append('"');
        foreach (char c in value)
            text.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\f' => "\\f",
                '\b' => "\\b",
                < ' ' => string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => c.ToString(),
            });
        text.Append('"');
    }
}
