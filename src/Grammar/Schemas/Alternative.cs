using System.Text.Json;

namespace TpServe.Grammar.Schemas;

/// <summary>The kinds of JSON values; integers are told apart from other numbers.</summary>
[Flags]
internal enum JsonKinds
{
    None = 0,
    Null = 1,
    Boolean = 2,
    Integer = 4,
    Fraction = 8,
    String = 16,
    Array = 32,
    Object = 64,
    Number = Integer | Fraction,
    All = 127,
}

/// <summary>A bound of a number.</summary>
internal readonly record struct NumberBound(JsonNumber Value, bool IsExclusive);

/// <summary>What one schema says of an object's properties: it looks only at its own.</summary>
internal sealed record ObjectPart(IReadOnlyList<(string Name, SchemaNode Schema)> Properties, IReadOnlyList<(string Pattern, SchemaNode Schema)> Patterns, SchemaNode? Additional)
{
    public Dictionary<string, SchemaNode> ByName { get; } = Properties.ToDictionary(property => property.Name, property => property.Schema);
}

/// <summary>What one schema says of an array's items.</summary>
internal sealed record ArrayPart(IReadOnlyList<SchemaNode> Prefix, SchemaNode? Items);

/// <summary>A conjunction of constraints with no choice left in it. A schema is a list of them, of which a value must satisfy one.</summary>
internal sealed record Alternative
{
    public static Alternative Any { get; } = new();

    public JsonKinds Kinds { get; init; } = JsonKinds.All;

    public NumberBound? Lower { get; init; }

    public NumberBound? Upper { get; init; }

    public IReadOnlyList<JsonNumber> Multiples { get; init; } = [];

    public int MinLength { get; init; }

    public int? MaxLength { get; init; }

    /// <summary>Patterns that must be found, with where they stand.</summary>
    public IReadOnlyList<(string Pattern, string Place)> Patterns { get; init; } = [];

    public IReadOnlyList<string> Formats { get; init; } = [];

    public IReadOnlyList<ArrayPart> Arrays { get; init; } = [];

    public int MinItems { get; init; }

    public int? MaxItems { get; init; }

    /// <summary>Where it stands that no item comes twice; null = any may.</summary>
    public string? Unique { get; init; }

    public IReadOnlyList<ObjectPart> Objects { get; init; } = [];

    public IReadOnlyList<string> Required { get; init; } = [];

    public IReadOnlyList<SchemaNode> Names { get; init; } = [];

    public int MinProperties { get; init; }

    public int? MaxProperties { get; init; }

    /// <summary>The only values; null = any.</summary>
    public IReadOnlyList<JsonElement>? Values { get; init; }

    /// <summary>Both at once.</summary>
    public Alternative And(Alternative other) => new()
    {
        Kinds = Kinds & other.Kinds,
        Lower = Tighter(Lower, other.Lower, 1),
        Upper = Tighter(Upper, other.Upper, -1),
        Multiples = Union(Multiples, other.Multiples),
        MinLength = Math.Max(MinLength, other.MinLength),
        MaxLength = Least(MaxLength, other.MaxLength),
        Patterns = Union(Patterns, other.Patterns),
        Formats = Union(Formats, other.Formats),
        Arrays = Union(Arrays, other.Arrays),
        MinItems = Math.Max(MinItems, other.MinItems),
        MaxItems = Least(MaxItems, other.MaxItems),
        Unique = Unique ?? other.Unique,
        Objects = Union(Objects, other.Objects),
        Required = Union(Required, other.Required),
        Names = Union(Names, other.Names),
        MinProperties = Math.Max(MinProperties, other.MinProperties),
        MaxProperties = Least(MaxProperties, other.MaxProperties),
        Values = Values is null ? other.Values : other.Values is null ? Values : [.. Values.Where(value => other.Values.Any(theirs => JsonValues.AreEqual(value, theirs)))],
    };

    private static NumberBound? Tighter(NumberBound? a, NumberBound? b, int sign)
    {
        if (a is not NumberBound x || b is not NumberBound y)
            return a ?? b;
        int order = x.Value.CompareTo(y.Value) * sign;
        return order > 0 || (order == 0 && x.IsExclusive) ? x : y;
    }

    private static int? Least(int? a, int? b) => a is int x && b is int y ? Math.Min(x, y) : a ?? b;

    private static IReadOnlyList<T> Union<T>(IReadOnlyList<T> a, IReadOnlyList<T> b) => b.Count == 0 ? a : a.Count == 0 ? b : [.. a.Union(b)];
}

/// <summary>Equality of JSON values as JSON Schema has it: numbers by value, objects whatever their order.</summary>
internal static class JsonValues
{
    public static bool AreEqual(JsonElement a, JsonElement b)
    {
        if (a.ValueKind != b.ValueKind)
            return false;
        switch (a.ValueKind)
        {
            case JsonValueKind.Number:
                return a.GetRawText() == b.GetRawText() || (JsonNumber.Parse(a) is JsonNumber x && JsonNumber.Parse(b) is JsonNumber y && x == y);
            case JsonValueKind.String:
                return SchemaSource.Text(a) == SchemaSource.Text(b);
            case JsonValueKind.Array:
                return a.GetArrayLength() == b.GetArrayLength() && a.EnumerateArray().Zip(b.EnumerateArray()).All(pair => AreEqual(pair.First, pair.Second));
            case JsonValueKind.Object:
                return a.GetPropertyCount() == b.GetPropertyCount() && a.EnumerateObject().All(property => b.TryGetProperty(property.Name, out JsonElement theirs) && AreEqual(property.Value, theirs));
            default:
                return true;
        }
    }

    public static JsonKinds KindOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null => JsonKinds.Null,
        JsonValueKind.True or JsonValueKind.False => JsonKinds.Boolean,
        JsonValueKind.Number => JsonNumber.Parse(value) is { IsInteger: true } ? JsonKinds.Integer : JsonKinds.Fraction,
        JsonValueKind.String => JsonKinds.String,
        JsonValueKind.Array => JsonKinds.Array,
        _ => JsonKinds.Object,
    };
}
