using System.Text.Json;

namespace TpServe.Checkpoint;

/// <summary>Whether the names in a JSON file are text.</summary>
/// <remarks>
/// JSON can escape half of a surrogate pair, which no text holds. .NET's reader takes such a name and fails as soon as any name is looked for beside it, with an exception that is no
/// JsonException; so files are looked through once, before anybody looks for a name in them. Values fail where they are read, and are told of there.
/// </remarks>
public static class JsonNames
{
    /// <summary>Looks through well-formed JSON.</summary>
    /// <exception cref="JsonException">A name holds half of a surrogate pair.</exception>
    public static void RequireText(ReadOnlySpan<byte> json)
    {
        if (json.IndexOf("\\ud"u8) < 0 && json.IndexOf("\\uD"u8) < 0)
            return; // no name of the usual files is written so, and they may be large
        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = int.MaxValue });
        while (reader.Read())
            if (reader.TokenType == JsonTokenType.PropertyName && reader.ValueIsEscaped)
                Check(ref reader);
    }

    private static void Check(ref Utf8JsonReader name)
    {
        try
        {
            name.GetString();
        }
        catch (InvalidOperationException fault)
        {
            throw new JsonException("a name holds half of a surrogate pair.", fault);
        }
    }
}
