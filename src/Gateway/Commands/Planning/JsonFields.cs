using System.Globalization;
using System.Text.Json;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The fields of one object of a JSON file, read strictly: every fault is kept with its path, the value and the limit; a field that nobody asked for is one.</summary>
/// <param name="element">The object; what is none is a fault.</param>
/// <param name="path">Where it stands: "devices[1]".</param>
/// <param name="faults">Where faults go.</param>
internal sealed class JsonFields(JsonElement element, string path, List<string> faults)
{
    private readonly HashSet<string> _known = [];

    /// <summary>Whether the object has a field.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>A text; the fallback where it is missing, null = it is needed.</summary>
    public string Text(string name, string? fallback = null, int most = 128)
    {
        if (Find(name) is not { } value)
            return fallback ?? Missing(name, "");
        if (value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text && text.Length <= most && !text.Any(char.IsControl))
            return text;
        return Fault(name, $"{Shown(value)} is not a text of 1..{most} characters", "");
    }

    /// <summary>One of some words.</summary>
    public T Word<T>(string name, Words<T> words) where T : struct, Enum
    {
        if (Find(name) is not { } value)
            return Missing<T>(name, default);
        if (value.ValueKind == JsonValueKind.String && words.TryParse(value.GetString()!, out T found))
            return found;
        return Fault<T>(name, $"{Shown(value)} is not one of {string.Join(", ", words.All)}", default);
    }

    /// <summary>A whole number.</summary>
    public long Whole(string name, long least, long most, long? fallback = null)
    {
        if (Find(name) is not { } value)
            return fallback ?? Missing(name, least);
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) && number >= least && number <= most
            ? number
            : Fault(name, string.Create(CultureInfo.InvariantCulture, $"{Shown(value)} is no whole number in {least}..{most}"), least);
    }

    /// <summary>A number.</summary>
    public double Number(string name, double least, double most, double? fallback = null)
    {
        if (Find(name) is not { } value)
            return fallback ?? Missing(name, least);
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && number >= least && number <= most
            ? number
            : Fault(name, string.Create(CultureInfo.InvariantCulture, $"{Shown(value)} is no number in {least}..{most}"), least);
    }

    /// <summary>true or false.</summary>
    public bool Flag(string name, bool fallback)
    {
        if (Find(name) is not { } value)
            return fallback;
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : Fault(name, $"{Shown(value)} is neither true nor false", fallback);
    }

    /// <summary>The fields of an inner object; null where it is missing.</summary>
    public JsonFields? Object(string name) => Find(name) is { } value ? new JsonFields(value, At(name), faults) : null;

    /// <summary>The elements of a list, with their paths; empty where it is missing.</summary>
    public IReadOnlyList<(JsonElement Element, string Path)> List(string name, int least, int most, bool isNeeded = true)
    {
        if (Find(name) is not { } value)
        {
            if (isNeeded)
                Missing(name, 0);
            return [];
        }
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() < least || value.GetArrayLength() > most)
            return Fault<IReadOnlyList<(JsonElement, string)>>(
                name, value.ValueKind == JsonValueKind.Array ? $"a list of {value.GetArrayLength()}; it has {least}..{most} elements" : $"{Shown(value)} is no list", []);
        return [.. value.EnumerateArray().Select((item, index) => (item, string.Create(CultureInfo.InvariantCulture, $"{At(name)}[{index}]")))];
    }

    /// <summary>Names and values of all fields, where names are the file's own.</summary>
    public IReadOnlyList<(string Name, JsonElement Value)> All()
    {
        if (element.ValueKind != JsonValueKind.Object)
            return [];
        (string, JsonElement)[] all = [.. element.EnumerateObject().Select(field => (field.Name, field.Value))];
        foreach ((string name, _) in all)
            _known.Add(name);
        return all;
    }

    /// <summary>Where a field stands.</summary>
    public string At(string name) => path.Length == 0 ? name : $"{path}.{name}";

    /// <summary>Says what is wrong with a field.</summary>
    public T Fault<T>(string name, string what, T instead)
    {
        faults.Add($"{At(name)}: {what}.");
        return instead;
    }

    /// <summary>To be called when all fields are read: others are faults, and so is what is no object.</summary>
    public void End()
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            faults.Add($"{(path.Length == 0 ? "the file" : path)}: {Shown(element)} is no object.");
            return;
        }
        foreach (JsonProperty field in element.EnumerateObject().Where(field => !_known.Contains(field.Name)))
            faults.Add($"{At(field.Name)}: no such field; the nearest is {Spelling.Nearest(field.Name, _known)}.");
    }

    /// <summary>A value as faults show it, cut where it is long.</summary>
    internal static string Shown(JsonElement value)
    {
        string text = value.GetRawText().ReplaceLineEndings(" ");
        return text.Length <= 40 ? text : text[..40] + "…";
    }

    private JsonElement? Find(string name)
    {
        _known.Add(name);
        return element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    private T Missing<T>(string name, T instead) => element.ValueKind == JsonValueKind.Object ? Fault(name, "is missing", instead) : instead;
}
