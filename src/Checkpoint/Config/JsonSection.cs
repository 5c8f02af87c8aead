using System.Text.Json;
using System.Text.Unicode;

namespace TpServe.Checkpoint.Config;

/// <summary>A JSON object of a model folder, read by key with type and range checked.</summary>
/// <remarks>
/// Errors  <see cref="ModelLoadException"/> naming file, key (dotted from the root), what was expected and what was found.
/// "Absent" and "null" are told apart only by <see cref="IsNull"/>; every getter returns null for both.
/// </remarks>
internal sealed class JsonSection
{
    private const int MaxDepth = 64;
    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];
    private readonly JsonElement _element;
    private readonly string _prefix;

    private JsonSection(string file, string prefix, JsonElement element)
    {
        File = file;
        _prefix = prefix;
        _element = element;
    }

    /// <summary>The file, for messages.</summary>
    public string File { get; }

    /// <summary>All members, each of which must be an object.</summary>
    public IEnumerable<(string Name, JsonSection Value)> ObjectMembers()
    {
        foreach (JsonProperty member in _element.EnumerateObject())
        {
            string name = NameOf(member);
            if (member.Value.ValueKind is not JsonValueKind.Object)
                throw Wrong(name, "an object", member.Value);
            yield return (name, new JsonSection(File, $"{_prefix}{name}.", member.Value));
        }
    }

    /// <summary>All members, each of which must be a string.</summary>
    public IEnumerable<(string Name, string Value)> StringMembers()
    {
        foreach (JsonProperty member in _element.EnumerateObject())
        {
            string name = NameOf(member);
            yield return (name, ToText(member.Value, name));
        }
    }

    /// <summary>Parses a file whose root is an object; null where there is no such file.</summary>
    public static JsonSection? ReadFile(string path, long maxBytes) =>
        ReadBytes(path, maxBytes) is { } bytes ? Parse(bytes, path) : null;

    /// <summary>A whole file; null where there is none.</summary>
    public static byte[]? ReadBytes(string path, long maxBytes)
    {
        RegularFile.Require(path);
        if (!System.IO.File.Exists(path))
            return null;
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            if (stream.Length > maxBytes)
                throw new ModelLoadException($"{path}: the file has {stream.Length} bytes; the limit is {maxBytes}.");
            byte[] bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{path}: cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Parses an object. Of a key that is there twice the last counts, as in Python, unless that is forbidden.</summary>
    public static JsonSection Parse(ReadOnlyMemory<byte> json, string file, bool allowDuplicates = true)
    {
        if (json.Span.StartsWith(ByteOrderMark))
            json = json[ByteOrderMark.Length..];
        if (!Utf8.IsValid(json.Span)) // the parser looks at text only when it is asked for it
            throw new ModelLoadException($"{file}: not valid JSON: not valid UTF-8.");
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaxDepth, AllowDuplicateProperties = allowDuplicates });
            JsonNames.RequireText(json.Span);
            return document.RootElement.ValueKind is JsonValueKind.Object
                ? new JsonSection(file, "", document.RootElement.Clone())
                : throw new ModelLoadException($"{file}: the root must be a JSON object; found {Describe(document.RootElement)}.");
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException) // the latter: a lone surrogate in a name, met while looking for duplicates
        {
            throw new ModelLoadException($"{file}: not valid JSON: {fault.Message}", fault);
        }
    }

    /// <summary>The keys.</summary>
    public IEnumerable<string> Names => _element.EnumerateObject().Select(NameOf);

    /// <summary>Whether a key says nothing: it is not there, null, false, or empty.</summary>
    public bool SaysNothing(string key) => Find(key) is not { } value || value.ValueKind switch
    {
        JsonValueKind.False => true,
        JsonValueKind.String => ToText(value, key).Length == 0,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => !value.EnumerateObject().Any(),
        _ => false,
    };

    /// <summary>Whether a key asks for nothing: as above, or 0, or 1 where it is a factor.</summary>
    public bool IsNeutral(string key, bool isFactor) => SaysNothing(key) || Find(key) is { ValueKind: JsonValueKind.Number } value && value.GetDouble() is var number && (number == 0 || isFactor && number == 1);

    /// <summary>All members, each of which must be a number within limits.</summary>
    public IEnumerable<(string Name, float Value)> FloatMembers(double least, double most)
    {
        foreach (JsonProperty member in _element.EnumerateObject())
        {
            string name = NameOf(member);
            yield return (name, ToFloat(member.Value, name, least, most));
        }
    }

    /// <summary>Whether the key is there, null included.</summary>
    public bool Has(string key) => _element.TryGetProperty(key, out _);

    /// <summary>Whether the key is there and null.</summary>
    public bool IsNull(string key) => _element.TryGetProperty(key, out JsonElement value) && value.ValueKind is JsonValueKind.Null;

    public bool IsObject(string key) => Find(key) is { ValueKind: JsonValueKind.Object };

    public bool IsArray(string key) => Find(key) is { ValueKind: JsonValueKind.Array };

    public int? Int(string key, int least, int most) => Find(key) is { } value ? ToInt(value, key, least, most) : null;

    public int RequiredInt(string key, int least, int most) => Int(key, least, most) ?? throw Missing(key);

    /// <summary>A finite number within limits.</summary>
    public float? Float(string key, double least, double most) => Find(key) is { } value ? ToFloat(value, key, least, most) : null;

    public float RequiredFloat(string key, double least, double most) => Float(key, least, most) ?? throw Missing(key);

    public bool? Bool(string key) => Find(key) is { } value
        ? value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(key, "true or false", value)
        : null;

    public string? String(string key) => Find(key) is { } value ? ToText(value, key) : null;

    public JsonSection? Object(string key) => Find(key) is { } value
        ? value.ValueKind is JsonValueKind.Object ? new JsonSection(File, $"{_prefix}{key}.", value) : throw Wrong(key, "an object", value)
        : null;

    /// <summary>The objects of an array.</summary>
    public IReadOnlyList<JsonSection>? Objects(string key) => Elements(key)?.Select((value, i) => value.ValueKind is JsonValueKind.Object
        ? new JsonSection(File, $"{_prefix}{key}[{i}].", value)
        : throw Wrong($"{key}[{i}]", "an object", value)).ToList();

    public IReadOnlyList<int>? Ints(string key, int least, int most) => Elements(key)?.Select((value, i) => ToInt(value, $"{key}[{i}]", least, most)).ToList();

    public IReadOnlyList<long>? Longs(string key, long least, long most) => Elements(key)?.Select((value, i) => ToLong(value, $"{key}[{i}]", least, most)).ToList();

    public IReadOnlyList<float>? Floats(string key, double least, double most) => Elements(key)?.Select((value, i) => ToFloat(value, $"{key}[{i}]", least, most)).ToList();

    public IReadOnlyList<string>? Strings(string key) => Elements(key)?.Select((value, i) => ToText(value, $"{key}[{i}]")).ToList();

    public ModelLoadException Missing(string key) => new($"{File}: '{_prefix}{key}' is missing.");

    /// <summary>A fault about a key's value.</summary>
    public ModelLoadException Fault(string key, string message) => new($"{File}: '{_prefix}{key}' {message}.");

    private string NameOf(JsonProperty member)
    {
        try
        {
            return member.Name;
        }
        catch (InvalidOperationException fault) // a lone surrogate, which JSON can escape and text cannot hold
        {
            throw new ModelLoadException($"{File}: a key of '{_prefix.TrimEnd('.')}' is not valid text.", fault);
        }
    }

    private JsonElement? Find(string key) =>
        _element.TryGetProperty(key, out JsonElement value) && value.ValueKind is not JsonValueKind.Null ? value : null;

    private IEnumerable<JsonElement>? Elements(string key) => Find(key) is { } value
        ? value.ValueKind is JsonValueKind.Array ? value.EnumerateArray() : throw Wrong(key, "an array", value)
        : null;

    private int ToInt(JsonElement value, string key, int least, int most) => (int)ToLong(value, key, least, most);

    private long ToLong(JsonElement value, string key, long least, long most)
    {
        if (value.ValueKind is not JsonValueKind.Number)
            throw Wrong(key, "an integer", value);
        // 4096.0 is an integer to the Python that writes these files.
        if (!value.TryGetInt64(out long number))
        {
            double real = value.GetDouble();
            if (real != Math.Floor(real) && double.IsFinite(real))
                throw Wrong(key, "an integer", value);
            if (!(real >= least && real <= most))
                throw Fault(key, $"is {value.GetRawText()}; it must be from {least} to {most}");
            number = (long)real;
        }
        return number >= least && number <= most ? number : throw Fault(key, $"is {number}; it must be from {least} to {most}");
    }

    private float ToFloat(JsonElement value, string key, double least, double most)
    {
        if (value.ValueKind is not JsonValueKind.Number)
            throw Wrong(key, "a number", value);
        double number = value.GetDouble();
        return number >= least && number <= most
            ? (float)number
            : throw Fault(key, $"is {value.GetRawText()}; it must be a number from {least} to {most}");
    }

    private string ToText(JsonElement value, string key)
    {
        if (value.ValueKind is not JsonValueKind.String)
            throw Wrong(key, "a string", value);
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException fault) // a lone surrogate too
        {
            throw new ModelLoadException($"{File}: '{_prefix}{key}' is not valid text.", fault);
        }
    }

    private ModelLoadException Wrong(string key, string expected, JsonElement found) => Fault(key, $"must be {expected}; found {Describe(found)}");

    private static string Describe(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 40 ? text : $"{text[..40]}…";
    }
}
