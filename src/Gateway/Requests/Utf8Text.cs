using System.Globalization;
using System.Text;
using System.Text.Json;

namespace TpServe.Gateway.Requests;

/// <summary>Text that can be written as UTF-8.</summary>
internal static class Utf8Text
{
    private const int InObject = int.MinValue;

    /// <summary>Refuses half of a surrogate pair: no UTF-8 stands for it.</summary>
    public static void Require(string field, string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i]))
                continue;
            if (!char.IsHighSurrogate(text[i]) || i + 1 == text.Length || !char.IsLowSurrogate(text[i + 1]))
                throw RequestRejectedException.Invalid(field, $"'{field}' is not valid Unicode: character {i} is half of a surrogate pair.");
            i++;
        }
    }

    /// <summary>Where well-formed JSON escapes half of a surrogate pair, as "a.b[2]", or "" for the whole; null = nowhere.</summary>
    /// <remarks>A JSON reader finds such a text only when it is asked for it, or compares a name with it, and by then in no way that tells the place.</remarks>
    public static string? HalfPairIn(ReadOnlySpan<byte> json)
    {
        if (json.IndexOf("\\u"u8) < 0)
            return null;
        Stack<(string Name, int Index)> place = []; // of each object or array that is open: the member, or the element
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = int.MaxValue });
        while (reader.Read())
        {
            if (reader.TokenType is JsonTokenType.EndObject or JsonTokenType.EndArray)
            {
                place.Pop();
                continue;
            }
            if (reader.TokenType != JsonTokenType.PropertyName && place.TryPeek(out (string Name, int Index) at) && at.Index >= -1)
                place.Push(place.Pop() with { Index = at.Index + 1 });
            if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray)
                place.Push(("", reader.TokenType == JsonTokenType.StartArray ? -1 : InObject));
            if (reader.TokenType is not (JsonTokenType.PropertyName or JsonTokenType.String))
                continue;
            try
            {
                string? text = reader.TokenType == JsonTokenType.PropertyName || reader.ValueIsEscaped ? reader.GetString() : null;
                if (reader.TokenType == JsonTokenType.PropertyName)
                    place.Push(place.Pop() with { Name = text! });
            }
            catch (InvalidOperationException)
            {
                if (reader.TokenType == JsonTokenType.PropertyName)
                    place.Pop(); // its name cannot be told: the object is named
                return Shown(place);
            }
        }
        return null;
    }

    private static string Shown(IEnumerable<(string Name, int Index)> place)
    {
        StringBuilder path = new();
        foreach ((string name, int index) in place.Reverse())
            if (index != InObject)
                path.Append(CultureInfo.InvariantCulture, $"[{index}]");
            else
                path.Append(path.Length == 0 ? "" : ".").Append(name);
        return path.ToString();
    }
}
