using System.Text.Json;

namespace TpServe.Grammar.Schemas;

/// <summary>What a schema object says itself, and which schemas apply at the same place.</summary>
internal sealed record SchemaFacts(Alternative Own, IReadOnlyList<SchemaNode> All, IReadOnlyList<IReadOnlyList<SchemaNode>> Any, IReadOnlyList<SchemaNode>? One);

/// <summary>Reads a schema's keywords. One that is not served is refused by name: none is ever passed over that could restrict a value.</summary>
internal sealed class KeywordReader(SchemaSource source)
{
    private static readonly HashSet<string> Annotations =
    [
        "$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
        "contentEncoding", "contentMediaType", "contentSchema", // draft 2020-12, validation, §8: they say what a string holds, and restrict nothing
        "externalDocs", "xml", "discriminator", "nullable", // OpenAPI's: nullable only adds null, which is written where the type has it
        "markdownDescription", "deprecationMessage", "enumDescriptions", "markdownEnumDescriptions", "defaultSnippets", // editors'
    ];

    /// <summary>The facts of a schema; null = false, which nothing satisfies.</summary>
    public SchemaFacts? Read(SchemaNode node)
    {
        switch (node.Element.ValueKind)
        {
            case JsonValueKind.True:
                return new SchemaFacts(Alternative.Any, [], [], null);
            case JsonValueKind.False:
                return null;
            case JsonValueKind.Object:
                break;
            default:
                throw new GrammarException(GrammarErrorKind.Invalid, "schema", node.Place, $"{SchemaSource.Shorten(node.Element)} is no schema: an object, true or false is expected");
        }
        Reading reading = new(source, node);
        foreach (JsonProperty property in node.Element.EnumerateObject())
            if (!Annotations.Contains(property.Name) && !property.Name.StartsWith("x-", StringComparison.Ordinal))
                reading.Take(property.Name, property.Value);
        return reading.Facts();
    }

    private sealed class Reading(SchemaSource source, SchemaNode node)
    {
        private readonly List<SchemaNode> _all = [];
        private readonly List<IReadOnlyList<SchemaNode>> _any = [];
        private Alternative _own = Alternative.Any;
        private IReadOnlyList<SchemaNode>? _one;
        private List<(string, SchemaNode)> _properties = [], _patterns = [];
        private SchemaNode? _additional, _items, _restOfProperties, _restOfItems;
        private List<SchemaNode> _prefix = [];
        private List<SchemaNode>? _list; // items as a list, as drafts before 2020-12 have them
        private SchemaNode? _afterList;
        private bool _isAboveMinimum, _isBelowMaximum; // draft 4: the bounds themselves are excluded

        public SchemaFacts Facts()
        {
            bool applies = _all.Count > 0 || _any.Count > 0 || _one is not null;
            if ((_restOfProperties ?? _restOfItems) is not null && applies)
                throw NotServed(_restOfProperties is null ? "unevaluatedItems" : "unevaluatedProperties", "beside $ref, allOf, anyOf or oneOf it is not served");
            if (_list is not null)
                (_prefix, _items) = _prefix.Count == 0 ? (_list, _afterList) : throw Invalid("items", node.Element.GetProperty("items"), "a schema beside prefixItems");
            if (_isAboveMinimum)
                _own = _own with { Lower = _own.Lower is { } low ? low with { IsExclusive = true } : throw Invalid("exclusiveMinimum", node.Element, "a minimum beside true") };
            if (_isBelowMaximum)
                _own = _own with { Upper = _own.Upper is { } high ? high with { IsExclusive = true } : throw Invalid("exclusiveMaximum", node.Element, "a maximum beside true") };
            _additional ??= _restOfProperties;
            _items ??= _restOfItems;
            if (_properties.Count > 0 || _patterns.Count > 0 || _additional is not null)
                _own = _own with { Objects = [new ObjectPart(_properties, _patterns, _additional)] };
            if (_prefix.Count > 0 || _items is not null)
                _own = _own with { Arrays = [new ArrayPart(_prefix, _items)] };
            return new SchemaFacts(_own, _all, _any, _one);
        }

        public void Take(string keyword, JsonElement value)
        {
            switch (keyword)
            {
                case "type":
                    JsonElement[] names = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
                    if (names.Length == 0)
                        throw Invalid(keyword, value, "a type or a list of types");
                    _own = _own.And(new Alternative { Kinds = names.Aggregate(JsonKinds.None, (kinds, name) => kinds | Kind(name)) });
                    break;
                case "enum":
                    if (value.ValueKind != JsonValueKind.Array)
                        throw Invalid(keyword, value, "a list");
                    _own = _own.And(new Alternative { Values = [.. value.EnumerateArray()] });
                    break;
                case "const":
                    _own = _own.And(new Alternative { Values = [value] });
                    break;
                case "minimum":
                    _own = _own.And(new Alternative { Lower = new NumberBound(Number(keyword, value), false) });
                    break;
                case "maximum":
                    _own = _own.And(new Alternative { Upper = new NumberBound(Number(keyword, value), false) });
                    break;
                case "exclusiveMinimum" when value.ValueKind is JsonValueKind.True or JsonValueKind.False:
                    _isAboveMinimum = value.ValueKind == JsonValueKind.True;
                    break;
                case "exclusiveMaximum" when value.ValueKind is JsonValueKind.True or JsonValueKind.False:
                    _isBelowMaximum = value.ValueKind == JsonValueKind.True;
                    break;
                case "exclusiveMinimum":
                    _own = _own.And(new Alternative { Lower = new NumberBound(Number(keyword, value), true) });
                    break;
                case "exclusiveMaximum":
                    _own = _own.And(new Alternative { Upper = new NumberBound(Number(keyword, value), true) });
                    break;
                case "multipleOf":
                    JsonNumber divisor = Number(keyword, value);
                    _own = _own with { Multiples = divisor.Digits.Sign > 0 ? [divisor] : throw Invalid(keyword, value, "a number above 0") };
                    break;
                case "minLength":
                    _own = _own with { MinLength = Count(keyword, value) };
                    break;
                case "maxLength":
                    _own = _own with { MaxLength = Count(keyword, value) };
                    break;
                case "pattern":
                    _own = _own with { Patterns = [(Text(keyword, value), node.Place)] };
                    break;
                case "format":
                    string format = Text(keyword, value);
                    if (NumberFormats.Of(format) is { } numbers)
                        _own = _own.And(numbers);
                    else if (format != "password") // OpenAPI's hint to whoever shows it
                        _own = _own with { Formats = StringFormats.IsServed(format) ? [format] : throw NotServed(keyword, $"'{format}' is not served") };
                    break;
                case "minItems":
                    _own = _own with { MinItems = Count(keyword, value) };
                    break;
                case "maxItems":
                    _own = _own with { MaxItems = Count(keyword, value) };
                    break;
                case "minProperties":
                    _own = _own with { MinProperties = Count(keyword, value) };
                    break;
                case "maxProperties":
                    _own = _own with { MaxProperties = Count(keyword, value) };
                    break;
                case "uniqueItems" when value.ValueKind is JsonValueKind.True or JsonValueKind.False:
                    if (value.ValueKind == JsonValueKind.True)
                        _own = _own with { Unique = node.Place };
                    break;
                case "required":
                    if (value.ValueKind != JsonValueKind.Array)
                        throw Invalid(keyword, value, "a list of names");
                    _own = _own with { Required = [.. value.EnumerateArray().Select(name => Text(keyword, name)).Distinct()] };
                    break;
                case "properties":
                    _properties = [.. Named(keyword, value)];
                    break;
                case "patternProperties":
                    _patterns = [.. Named(keyword, value)];
                    break;
                case "additionalProperties":
                    _additional = source.Child(node, value, keyword);
                    break;
                case "propertyNames":
                    _own = _own with { Names = [source.Child(node, value, keyword)] };
                    break;
                case "unevaluatedProperties":
                    _restOfProperties = value.ValueKind == JsonValueKind.True ? null : source.Child(node, value, keyword);
                    break;
                case "unevaluatedItems":
                    _restOfItems = value.ValueKind == JsonValueKind.True ? null : source.Child(node, value, keyword);
                    break;
                case "items":
                    if (value.ValueKind == JsonValueKind.Array)
                        _list = value.GetArrayLength() == 0 ? [] : Listed(keyword, value);
                    else
                        _items = source.Child(node, value, keyword);
                    break;
                case "additionalItems": // without a list of items it says nothing, in any draft
                    _afterList = source.Child(node, value, keyword);
                    break;
                case "id" when node.Pointer.Length == 0 && value.ValueKind == JsonValueKind.String: // draft 4's name of the document
                    break;
                case "prefixItems":
                    _prefix = [.. Listed(keyword, value)];
                    break;
                case "$ref":
                    _all.Add(source.Resolve(node, Text(keyword, value)));
                    break;
                case "allOf":
                    _all.AddRange(Listed(keyword, value));
                    break;
                case "anyOf":
                    _any.Add(Listed(keyword, value));
                    break;
                case "oneOf":
                    _one = Listed(keyword, value);
                    break;
                default:
                    throw NotServed(keyword, "the keyword is not served");
            }
        }

        private List<SchemaNode> Listed(string keyword, JsonElement value)
        {
            if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0)
                throw Invalid(keyword, value, "a list of schemas");
            return [.. value.EnumerateArray().Select((schema, index) => source.Child(node, schema, keyword, index.ToString(System.Globalization.CultureInfo.InvariantCulture)))];
        }

        private IEnumerable<(string, SchemaNode)> Named(string keyword, JsonElement value)
        {
            if (value.ValueKind != JsonValueKind.Object)
                throw Invalid(keyword, value, "an object of schemas");
            foreach (JsonProperty property in value.EnumerateObject())
                yield return (property.Name, source.Child(node, property.Value, keyword, property.Name));
        }

        private JsonKinds Kind(JsonElement name) => (name.ValueKind == JsonValueKind.String ? SchemaSource.Text(name) : null) switch
        {
            "null" => JsonKinds.Null,
            "boolean" => JsonKinds.Boolean,
            "integer" => JsonKinds.Integer,
            "number" => JsonKinds.Number,
            "string" => JsonKinds.String,
            "array" => JsonKinds.Array,
            "object" => JsonKinds.Object,
            _ => throw Invalid("type", name, "a type"),
        };

        private string Text(string keyword, JsonElement value) => value.ValueKind == JsonValueKind.String ? SchemaSource.Text(value) : throw Invalid(keyword, value, "a string");

        private JsonNumber Number(string keyword, JsonElement value)
        {
            if (value.ValueKind != JsonValueKind.Number)
                throw Invalid(keyword, value, "a number");
            return JsonNumber.Parse(value) ?? throw new GrammarException(GrammarErrorKind.Limit, keyword, node.Place, $"{SchemaSource.Shorten(value)} has too many digits");
        }

        private int Count(string keyword, JsonElement value)
        {
            JsonNumber number = Number(keyword, value);
            if (number.IsNegative || !number.IsInteger)
                throw Invalid(keyword, value, "a whole number, 0 or more");
            // Beyond what any text reaches the exact count does not matter; a least count there is beyond the limits anyway.
            return number.CompareTo(new JsonNumber(int.MaxValue, 0)) >= 0 ? int.MaxValue : (int)number.Scaled(0);
        }

        private GrammarException Invalid(string keyword, JsonElement value, string expected) =>
            new(GrammarErrorKind.Invalid, keyword, node.Place, $"{SchemaSource.Shorten(value)} where {expected} is expected");

        private GrammarException NotServed(string keyword, string reason) => new(GrammarErrorKind.NotServed, keyword, node.Place, reason);
    }
}
