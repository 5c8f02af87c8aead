using System.Text.Json;

namespace TpServe.Tokenization.Loading;

/// <summary>A value inside tokenizer.json with the path to it, so that every fault names its place.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> where a value is missing, of another kind or out of range.
/// </remarks>
internal readonly struct JsonPart(JsonElement element, string parentPath, string name)
{
    /// <summary>Where it stands; put together only when asked for, since a vocabulary has half a million parts.</summary>
    public string Path => parentPath + name;

    public JsonValueKind Kind => element.ValueKind;

    public bool IsObject => element.ValueKind == JsonValueKind.Object;

    /// <summary>A member, or null where it is absent or null.</summary>
    public JsonPart? Optional(string member) =>
        IsObject && element.TryGetProperty(member, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? new JsonPart(value, Path, "." + member)
            : null;

    public JsonPart Required(string member) => Optional(member) ?? throw new TokenizerException($"{Path} has no '{member}'.");

    public string Text()
    {
        if (element.ValueKind != JsonValueKind.String)
            throw Fault("a string");
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException fault)
        {
            throw new TokenizerException($"{Path} holds half of a surrogate pair.", fault);
        }
    }

    public string? OptionalText(string member) => Optional(member)?.Text();

    public bool Flag(string member, bool absent)
    {
        if (Optional(member) is not JsonPart part)
            return absent;
        return part.Kind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw part.Fault("true or false"),
        };
    }

    public int Integer(int min, int max)
    {
        if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt64(out long value))
            throw Fault("an integer");
        return value >= min && value <= max ? (int)value : throw new TokenizerException($"{Path} is {value}; it must be between {min} and {max}.");
    }

    public double Number() =>
        element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out double value) && double.IsFinite(value) ? value : throw Fault("a finite number");

    /// <summary>A single UTF-16 unit: a mark or a delimiter.</summary>
    public char Character()
    {
        string text = Text();
        return text.Length == 1 && !char.IsSurrogate(text[0]) ? text[0] : throw Fault("one character of the basic multilingual plane");
    }

    /// <summary>The elements of an array, at most so many.</summary>
    public List<JsonPart> Items(int most)
    {
        CheckCount(most);
        List<JsonPart> items = new(element.GetArrayLength());
        string own = Path;
        foreach (JsonElement item in element.EnumerateArray())
            items.Add(new JsonPart(item, own, "[]"));
        return items;
    }

    /// <summary>The members of an object that are integers, at most so many: a vocabulary.</summary>
    public List<KeyValuePair<string, int>> IntegerMembers(int most)
    {
        if (!IsObject)
            throw Fault("an object");
        List<KeyValuePair<string, int>> members = [];
        string own = Path;
        foreach (JsonProperty member in element.EnumerateObject())
        {
            if (members.Count == most)
                throw new TokenizerException($"{Path} has more than {most} members.");
            members.Add(new(Name(member), new JsonPart(member.Value, own, "[]").Integer(0, int.MaxValue)));
        }
        return members;
    }

    /// <summary>The steps of a pipeline: itself, or those of its sequence and of sequences in it, in order.</summary>
    public List<JsonPart> Flatten(string member)
    {
        List<JsonPart> steps = [];
        Stack<JsonPart> open = new([this]);
        while (open.TryPop(out JsonPart part))
        {
            if (part.Type() != "Sequence")
                steps.Add(part);
            else
                foreach (JsonPart inner in Enumerable.Reverse(part.Required(member).Items(TokenizerLimits.PipelineSteps)))
                    open.Push(inner);
            if (steps.Count + open.Count > TokenizerLimits.PipelineSteps)
                throw new TokenizerException($"{Path} has more than {TokenizerLimits.PipelineSteps} steps.");
        }
        return steps;
    }

    public TokenizerException Fault(string wanted) =>
        new($"{Path} must be {wanted}, but is {(Kind is JsonValueKind.Undefined ? "absent" : Patterns.Pattern.Shorten(element.GetRawText()))}.");

    /// <summary>What stands in the type member, for a part of the pipeline.</summary>
    public string Type() => Required("type").Text();

    /// <summary>The refusal of a type that is not known.</summary>
    public TokenizerException UnknownType(params ReadOnlySpan<string> known) =>
        new($"{Path}.type '{Patterns.Pattern.Shorten(Type())}' is not supported; these are: {string.Join(", ", known)}.");

    private void CheckCount(int most)
    {
        if (element.ValueKind != JsonValueKind.Array)
            throw Fault("an array");
        if (element.GetArrayLength() > most)
            throw new TokenizerException($"{Path} has {element.GetArrayLength()} elements; the limit is {most}.");
    }

    private string Name(JsonProperty member)
    {
        try
        {
            return member.Name;
        }
        catch (InvalidOperationException fault)
        {
            throw new TokenizerException($"{Path} has a name that holds half of a surrogate pair.", fault);
        }
    }
}
