using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Gateway.Api;

/// <summary>"a" or ["a", "b"] as a list.</summary>
internal sealed class StringOrArrayConverter : JsonConverter<List<string>>
{
    /// <inheritdoc/>
    public override List<string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return [reader.GetString()!];
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException("A string or an array of strings is expected.");
        List<string> strings = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            strings.Add(reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException("An array of strings is expected."));
        return strings;
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, List<string> value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (string text in value)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }
}
