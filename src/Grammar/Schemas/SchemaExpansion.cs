using System.Text.Json;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Regexes;

namespace TpServe.Grammar.Schemas;

/// <summary>Schemas that must hold together, as a list of alternatives: references followed, allOf multiplied out, anyOf and oneOf spread.</summary>
/// <remarks>
/// Properties and items are left as they are, so recursion through them ends; recursion without any is refused.
/// oneOf is the union of its branches only where no value can satisfy two of them; where that is not certain it is refused.
/// </remarks>
internal sealed class SchemaExpansion(KeywordReader reader, CompileBudget budget)
{
    private const int MostAlternatives = 256;
    private const int DeepestProof = 6;

    private readonly Dictionary<int, IReadOnlyList<Alternative>?> _known = []; // null = being expanded
    private readonly Dictionary<(string, bool), Dfa> _patterns = [];
    private readonly Dictionary<string, Dfa> _formats = [];
    private int _depth;

    /// <summary>The alternatives of some schemas at once.</summary>
    public IReadOnlyList<Alternative> Expand(IEnumerable<SchemaNode> schemas)
    {
        IReadOnlyList<Alternative> alternatives = [Alternative.Any];
        foreach (SchemaNode schema in schemas)
            alternatives = Product(alternatives, Expand(schema), schema);
        return alternatives;
    }

    /// <summary>A pattern as an automaton over characters, made once. Wide: what it matches in any dialect, so that the rest surely does not match.</summary>
    public Dfa Search(string pattern, string place, bool wide = false)
    {
        if (!_patterns.TryGetValue((pattern, wide), out Dfa? automaton))
            _patterns.Add((pattern, wide), automaton = Pattern.Search(pattern, budget, place, wide));
        return automaton;
    }

    /// <summary>A format as an automaton over characters, made once.</summary>
    public Dfa Format(string format)
    {
        if (!_formats.TryGetValue(format, out Dfa? automaton))
            _formats.Add(format, automaton = StringFormats.Automaton(format, budget));
        return automaton;
    }

    /// <summary>Whether a value satisfies an alternative, whatever <see cref="Alternative.Values"/> it lists. Wide: false only where that is sure.</summary>
    public bool Satisfies(JsonElement value, Alternative alternative, bool wide = false)
    {
        budget.Spend(10);
        if ((JsonValues.KindOf(value) & alternative.Kinds) == 0)
            return false;
        switch (value.ValueKind)
        {
            case JsonValueKind.Number:
                return JsonNumber.Parse(value) is JsonNumber number
                    && (alternative.Lower is not NumberBound low || number.CompareTo(low.Value) >= (low.IsExclusive ? 1 : 0))
                    && (alternative.Upper is not NumberBound high || number.CompareTo(high.Value) <= (high.IsExclusive ? -1 : 0))
                    && alternative.Multiples.All(number.IsMultipleOf);
            case JsonValueKind.String:
                int[] characters = [.. SchemaSource.Text(value).EnumerateRunes().Select(rune => rune.Value)];
                budget.Spend(characters.Length);
                return characters.Length >= alternative.MinLength && !(characters.Length > alternative.MaxLength)
                    && alternative.Patterns.All(pattern => Search(pattern.Pattern, pattern.Place, wide).Matches(characters))
                    && (wide || alternative.Formats.All(format => Format(format).Matches(characters)));
            case JsonValueKind.Array:
                return value.GetArrayLength() >= alternative.MinItems && !(value.GetArrayLength() > alternative.MaxItems)
                    && (alternative.Unique is null || AreDistinct([.. value.EnumerateArray()]))
                    && value.EnumerateArray().Index().All(item => SatisfiesAll(item.Item, ItemSchemas(alternative, item.Index), wide));
            case JsonValueKind.Object:
                int count = value.GetPropertyCount();
                return count >= alternative.MinProperties && !(count > alternative.MaxProperties)
                    && alternative.Required.All(name => value.TryGetProperty(name, out _))
                    && value.EnumerateObject().All(property => IsName(property.Name, alternative, wide) && SatisfiesAll(property.Value, PropertySchemas(alternative, property.Name), wide));
            default:
                return true;
        }
    }

    private bool AreDistinct(JsonElement[] items)
    {
        budget.Spend((long)items.Length * items.Length);
        return !items.Index().Any(one => items.Take(one.Index).Any(before => JsonValues.AreEqual(before, one.Item)));
    }

    /// <summary>The values that some schemas allow, each once; null where they are not listed.</summary>
    public IReadOnlyList<JsonElement>? Listed(IReadOnlyList<SchemaNode> schemas)
    {
        List<JsonElement> values = [];
        foreach (Alternative alternative in Expand(schemas))
            foreach (JsonElement value in alternative.Values ?? (IReadOnlyList<JsonElement>)[])
                if (Satisfies(value, alternative) && !values.Exists(known => JsonValues.AreEqual(known, value)))
                    values.Add(value);
        return Expand(schemas).Any(alternative => alternative.Values is null) ? null : values;
    }

    /// <summary>The schemas of an array's item.</summary>
    public static List<SchemaNode> ItemSchemas(Alternative alternative, int index) =>
        [.. alternative.Arrays.Select(part => index < part.Prefix.Count ? part.Prefix[index] : part.Items).OfType<SchemaNode>()];

    /// <summary>The schemas of an object's property.</summary>
    public List<SchemaNode> PropertySchemas(Alternative alternative, string name)
    {
        List<SchemaNode> schemas = [];
        int[] characters = [.. name.EnumerateRunes().Select(rune => rune.Value)];
        foreach (ObjectPart part in alternative.Objects)
        {
            // A name that only some dialects match must satisfy both: the pattern's schema, and that of names which match none.
            List<SchemaNode> own = [.. part.Patterns.Where(pattern => Search(pattern.Pattern, pattern.Schema.Place, wide: true).Matches(characters)).Select(pattern => pattern.Schema)];
            bool isKnown = part.Patterns.Any(pattern => Search(pattern.Pattern, pattern.Schema.Place).Matches(characters));
            if (part.ByName.TryGetValue(name, out SchemaNode? schema))
                own.Add(schema);
            else if (!isKnown && part.Additional is not null)
                own.Add(part.Additional);
            schemas.AddRange(own);
        }
        return schemas;
    }

    /// <summary>Whether a name satisfies propertyNames.</summary>
    public bool IsName(string name, Alternative alternative, bool wide = false) =>
        alternative.Names.Count == 0 || SatisfiesAll(JsonSerializer.SerializeToElement(name), alternative.Names, wide);

    /// <summary>True only where no value at all satisfies the alternative. Formats and whatever is unsure count as satisfiable.</summary>
    public bool IsEmpty(Alternative alternative, int depth = 0)
    {
        budget.Spend(10);
        if (alternative.Values is not null)
            return !alternative.Values.Any(value => Satisfies(value, alternative, wide: true));
        JsonKinds possible = alternative.Kinds;
        if (possible.HasFlag(JsonKinds.Integer) && NoNumber(alternative, integer: true))
            possible &= ~JsonKinds.Integer;
        if (possible.HasFlag(JsonKinds.Fraction) && NoNumber(alternative, integer: false))
            possible &= ~JsonKinds.Fraction;
        if (possible.HasFlag(JsonKinds.String) && NoString(alternative))
            possible &= ~JsonKinds.String;
        if (possible.HasFlag(JsonKinds.Array) && NoArray(alternative, depth))
            possible &= ~JsonKinds.Array;
        if (possible.HasFlag(JsonKinds.Object) && NoObject(alternative, depth))
            possible &= ~JsonKinds.Object;
        return possible == JsonKinds.None;
    }

    private bool SatisfiesAll(JsonElement value, IReadOnlyList<SchemaNode> schemas, bool wide) =>
        Expand(schemas).Any(alternative => (alternative.Values?.Any(listed => JsonValues.AreEqual(listed, value)) ?? true) && Satisfies(value, alternative, wide));

    private static bool NoNumber(Alternative alternative, bool integer)
    {
        if (!integer && alternative.Multiples.Any(divisor => divisor.IsInteger))
            return true;
        if (alternative.Lower is not NumberBound low || alternative.Upper is not NumberBound high)
            return false;
        int order = low.Value.CompareTo(high.Value);
        if (order > 0 || (order == 0 && (low.IsExclusive || high.IsExclusive)))
            return true;
        return integer && order == 0 && !low.Value.IsInteger;
    }

    private bool NoString(Alternative alternative)
    {
        if (alternative.MinLength > alternative.MaxLength)
            return true;
        if (alternative.Patterns.Count == 0)
            return false;
        Dfa? all = null;
        foreach ((string pattern, string place) in alternative.Patterns)
            all = all is null ? Search(pattern, place, wide: true) : all.Intersect(Search(pattern, place, wide: true));
        return all!.IsEmpty;
    }

    private bool NoArray(Alternative alternative, int depth)
    {
        if (alternative.MinItems > alternative.MaxItems)
            return true;
        int looked = Math.Min(alternative.MinItems, alternative.Arrays.Select(part => part.Prefix.Count + 1).DefaultIfEmpty(0).Max());
        return Enumerable.Range(0, looked).Any(index => NoValue(ItemSchemas(alternative, index), depth));
    }

    private bool NoObject(Alternative alternative, int depth) =>
        alternative.MinProperties > alternative.MaxProperties || alternative.Required.Count > alternative.MaxProperties
        || alternative.Required.Any(name => !IsName(name, alternative, wide: true) || NoValue(PropertySchemas(alternative, name), depth));

    private bool NoValue(List<SchemaNode> schemas, int depth) =>
        depth < DeepestProof && schemas.Count > 0 && Expand(schemas).All(alternative => IsEmpty(alternative, depth + 1));

    private IReadOnlyList<Alternative> Expand(SchemaNode node)
    {
        if (_known.TryGetValue(node.Id, out IReadOnlyList<Alternative>? known))
            return known ?? throw new GrammarException(GrammarErrorKind.Invalid, "$ref", node.Place, "the schema refers to itself with no value in between");
        if (++_depth > budget.Limits.Depth)
            throw GrammarException.Limit("references of references", budget.Limits.Depth, node.Place);
        _known.Add(node.Id, null);
        IReadOnlyList<Alternative> expanded = reader.Read(node) is SchemaFacts facts ? Expand(node, facts) : [];
        _known[node.Id] = expanded;
        _depth--;
        return expanded;
    }

    private IReadOnlyList<Alternative> Expand(SchemaNode node, SchemaFacts facts)
    {
        IReadOnlyList<Alternative> alternatives = [facts.Own];
        foreach (SchemaNode schema in facts.All)
            alternatives = Product(alternatives, Expand(schema), node);
        foreach (IReadOnlyList<SchemaNode> options in facts.Any)
            alternatives = Product(alternatives, [.. options.SelectMany(Expand)], node);
        if (facts.One is not null)
            alternatives = ExpandOne(node, alternatives, [.. facts.One.Select(Expand)]);
        return alternatives;
    }

    private IReadOnlyList<Alternative> ExpandOne(SchemaNode node, IReadOnlyList<Alternative> others, IReadOnlyList<Alternative>[] branches)
    {
        IReadOnlyList<Alternative>[] whole = [.. branches.Select(branch => Product(others, branch, node))];
        for (int i = 0; i < whole.Length; i++)
            for (int j = i + 1; j < whole.Length; j++)
                foreach (Alternative a in whole[i])
                    foreach (Alternative b in whole[j])
                        if (!IsEmpty(a.And(b)))
                            throw new GrammarException(GrammarErrorKind.NotServed, "oneOf", node.Place, $"branches {i} and {j} may both accept a value; only branches that exclude one another are served");
        return Bounded([.. whole.SelectMany(branch => branch)], node);
    }

    private IReadOnlyList<Alternative> Product(IReadOnlyList<Alternative> a, IReadOnlyList<Alternative> b, SchemaNode node)
    {
        if (b is [var only] && ReferenceEquals(only, Alternative.Any))
            return a;
        if (a is [var first] && ReferenceEquals(first, Alternative.Any))
            return Bounded(b, node);
        if ((long)a.Count * b.Count > MostAlternatives * 16)
            throw GrammarException.Limit("alternatives of a schema", MostAlternatives, node.Place);
        budget.Spend(20L * a.Count * b.Count);
        return Bounded([.. a.SelectMany(x => b.Select(x.And)).Where(both => both.Kinds != JsonKinds.None && both.Values is not [])], node);
    }

    private static IReadOnlyList<Alternative> Bounded(IReadOnlyList<Alternative> alternatives, SchemaNode node) =>
        alternatives.Count <= MostAlternatives ? alternatives : throw GrammarException.Limit("alternatives of a schema", MostAlternatives, node.Place);
}
