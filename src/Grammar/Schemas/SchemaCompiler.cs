using System.Globalization;
using System.Text;
using System.Text.Json;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar.Schemas;

/// <summary>JSON Schema to rules: each conjunction of schemas that a value may have to satisfy becomes one rule.</summary>
/// <remarks>
/// Text: one space at most after ':' and ','; nothing else between tokens. Objects: see <see cref="ObjectWriter"/>. Numbers: see <see cref="NumberAutomaton"/>;
/// integers without point or exponent. Strings that only lengths bound may use any escape, all others are in canonical spelling.
/// Conjunctions are sets of schemas of the document, so there are finitely many and recursion closes.
/// Source   JSON Schema, draft 2020-12, core and validation.
/// </remarks>
internal sealed class SchemaCompiler
{
    private readonly ProgramBuilder _builder;
    private readonly SchemaExpansion _expansion;
    private readonly Dictionary<string, int> _rules = [];
    private readonly Dictionary<string, int> _leaves = [];
    private readonly Queue<(int Rule, IReadOnlyList<Alternative> Alternatives)> _open = new();

    private SchemaCompiler(string schema, ProgramBuilder builder)
    {
        _builder = builder;
        SchemaSource source = new(schema, builder.Budget);
        _expansion = new SchemaExpansion(new KeywordReader(source), builder.Budget);
        AnyString = builder.CountedString(0, CountedString.Unbounded);
        AnyRestOfString = builder.CountedString(0, CountedString.Unbounded, inside: true);
        Root = RuleOf([source.Root]);
    }

    /// <summary>The rule of any string.</summary>
    public int AnyString { get; }

    /// <summary>The rule of what may follow an opening quote.</summary>
    public int AnyRestOfString { get; }

    private int Root { get; }

    /// <summary>Adds the rules of a schema; the result is the root's number.</summary>
    public static int Compile(string schema, ProgramBuilder builder)
    {
        SchemaCompiler compiler = new(schema, builder);
        while (compiler._open.TryDequeue(out (int Rule, IReadOnlyList<Alternative> Alternatives) next))
        {
            Nfa nfa = new(builder.Budget);
            int start = nfa.AddState(), end = nfa.AddState();
            nfa.Accept(end);
            foreach (Alternative alternative in next.Alternatives)
                compiler.WriteAlternative(nfa, start, alternative, end);
            builder.Define(next.Rule, nfa.Determinize(start).Minimize());
        }
        return compiler.Root;
    }

    /// <summary>A copy of an automaton between two states.</summary>
    public static void Embed(Nfa nfa, Dfa automaton, int from, int to)
    {
        int[] states = [.. Enumerable.Range(0, automaton.States).Select(_ => nfa.AddState())];
        nfa.AddEpsilon(from, states[0]);
        for (int s = 0; s < automaton.States; s++)
        {
            foreach (DfaEdge edge in automaton.Edges[s])
                nfa.AddRange(states[s], edge.Lo, edge.Hi, states[edge.Target]);
            if (automaton.Accepts[s])
                nfa.AddEpsilon(states[s], to);
        }
    }

    /// <summary>A value that satisfies some schemas. Scalars are written in place, arrays and objects are calls.</summary>
    public void WriteValue(Nfa nfa, int from, IReadOnlyList<SchemaNode> schemas, int to)
    {
        IReadOnlyList<Alternative> alternatives = _expansion.Expand(schemas);
        bool isScalar = alternatives.All(alternative => alternative.Values is null
            ? (alternative.Kinds & (JsonKinds.Array | JsonKinds.Object)) == 0
            : alternative.Values.Count <= 64);
        if (!isScalar)
            nfa.AddSymbol(from, ProgramBuilder.FirstCall + RuleOf(schemas), to);
        else
            foreach (Alternative alternative in alternatives)
                WriteAlternative(nfa, from, alternative, to);
    }

    /// <summary>The strings that satisfy some schemas, over characters: for names of properties.</summary>
    public Dfa StringsOf(IReadOnlyList<SchemaNode> schemas)
    {
        CompileBudget budget = _builder.Budget;
        Nfa union = new(budget);
        int start = union.AddState(), end = union.AddState();
        union.Accept(end);
        foreach (Alternative alternative in _expansion.Expand(schemas).Where(alternative => alternative.Kinds.HasFlag(JsonKinds.String)))
        {
            if (alternative.Values is null)
                Embed(union, Strings(alternative), start, end);
            else
                foreach (JsonElement value in alternative.Values.Where(value => value.ValueKind == JsonValueKind.String && _expansion.Satisfies(value, alternative)))
                {
                    int at = start;
                    foreach (Rune rune in SchemaSource.Text(value).EnumerateRunes())
                    {
                        int next = union.AddState();
                        union.AddSymbol(at, rune.Value, next);
                        at = next;
                    }
                    union.AddEpsilon(at, end);
                }
        }
        return union.Determinize(start).Minimize();
    }

    private int RuleOf(IReadOnlyList<SchemaNode> schemas)
    {
        string key = string.Join(',', schemas.Select(schema => schema.Id).Distinct().Order());
        if (!_rules.TryGetValue(key, out int rule))
        {
            _rules.Add(key, rule = _builder.Declare(schemas.Count == 0 ? "any value" : schemas[0].Place));
            _open.Enqueue((rule, _expansion.Expand(schemas)));
        }
        return rule;
    }

    private void WriteAlternative(Nfa nfa, int from, Alternative alternative, int to)
    {
        if (alternative.Values is not null)
        {
            foreach (JsonElement value in alternative.Values)
                if (_expansion.Satisfies(value, alternative))
                    WriteLiteral(nfa, from, value, to);
            return;
        }
        JsonKinds kinds = alternative.Kinds;
        if (kinds.HasFlag(JsonKinds.Null))
            nfa.AddPath(from, "null"u8, to);
        if (kinds.HasFlag(JsonKinds.Boolean))
        {
            nfa.AddPath(from, "true"u8, to);
            nfa.AddPath(from, "false"u8, to);
        }
        if ((kinds & JsonKinds.Number) != 0)
            nfa.AddSymbol(from, ProgramBuilder.FirstCall + NumberRule(alternative), to);
        if (kinds.HasFlag(JsonKinds.String))
            nfa.AddSymbol(from, ProgramBuilder.FirstCall + StringRule(alternative), to);
        if (kinds.HasFlag(JsonKinds.Array))
            WriteArray(nfa, from, alternative, to);
        if (kinds.HasFlag(JsonKinds.Object))
            new ObjectWriter(this, _expansion, nfa, alternative).Write(from, to);
    }

    private int NumberRule(Alternative alternative)
    {
        bool integer = !alternative.Kinds.HasFlag(JsonKinds.Fraction);
        string key = string.Create(CultureInfo.InvariantCulture, $"number {integer} {alternative.Lower} {alternative.Upper} {string.Join(' ', alternative.Multiples)}");
        bool isFree = alternative is { Lower: null, Upper: null, Multiples: [] };
        return LeafRule(key, () => isFree
            ? NumberAutomaton.Free(integer, _builder.Budget)
            : NumberAutomaton.Within(integer, alternative.Lower, alternative.Upper, alternative.Multiples, _builder.Budget));
    }

    private int StringRule(Alternative alternative)
    {
        if (alternative.Patterns.Count == 0 && alternative.Formats.Count == 0)
            return _builder.CountedString(alternative.MinLength, alternative.MaxLength ?? CountedString.Unbounded);
        string key = JsonSerializer.Serialize(new object?[]
        {
            "string", alternative.MinLength, alternative.MaxLength, alternative.Patterns.Select(pattern => pattern.Pattern).Order(StringComparer.Ordinal), alternative.Formats.Order(StringComparer.Ordinal),
        });
        return LeafRule(key, () => ByteAutomaton.JsonString(Strings(alternative)));
    }

    // The strings of an alternative over characters.
    private Dfa Strings(Alternative alternative)
    {
        CompileBudget budget = _builder.Budget;
        Dfa? all = null;
        foreach (Dfa next in alternative.Patterns.Select(pattern => _expansion.Search(pattern.Pattern, pattern.Place)).Concat(alternative.Formats.Select(_expansion.Format)))
            all = all is null ? next : all.Intersect(next);
        if (all is null || alternative.MinLength > 0 || alternative.MaxLength is not null)
        {
            if (alternative.MinLength > alternative.MaxLength)
                return new Dfa([[]], [false], budget);
            Dfa lengths = Dfa.OfLength(alternative.MinLength, alternative.MaxLength, budget);
            all = all is null ? lengths : all.Intersect(lengths);
        }
        return all.Minimize();
    }

    private int LeafRule(string key, Func<Dfa> make)
    {
        if (!_leaves.TryGetValue(key, out int rule))
        {
            _leaves.Add(key, rule = _builder.Declare(key));
            _builder.Define(rule, make());
        }
        return rule;
    }

    private void WriteArray(Nfa nfa, int from, Alternative alternative, int to)
    {
        int prefix = alternative.Arrays.Select(part => part.Prefix.Count).DefaultIfEmpty(0).Max();
        int min = alternative.MinItems, max = Math.Min(alternative.MaxItems ?? int.MaxValue, _builder.Budget.Limits.Repeat);
        if (min > _builder.Budget.Limits.Repeat)
            throw GrammarException.Limit("minItems", _builder.Budget.Limits.Repeat);
        if (min > max)
            return;
        if (alternative.Unique is { } place && max > 1)
        {
            new UniqueItems(nfa, min, max, ValuesOf(alternative, place)).Write(from, to);
            return;
        }
        // Items that are told apart: those of prefixes, those that must be there, and where there is a bound each up to it.
        bool isEndless = alternative.MaxItems is null || alternative.MaxItems > _builder.Budget.Limits.Repeat;
        int counted = isEndless ? Math.Max(prefix, Math.Max(min - 1, 0)) : max;

        int open = nfa.AddState(), close = nfa.AddState();
        nfa.AddSymbol(from, '[', open);
        nfa.AddSymbol(close, ']', to);
        if (min == 0)
            nfa.AddEpsilon(open, close);
        int before = open;
        for (int index = 0; index < counted; index++)
        {
            int after = nfa.AddState();
            WriteValue(nfa, before, SchemaExpansion.ItemSchemas(alternative, index), after);
            if (index + 1 >= min)
                nfa.AddEpsilon(after, close);
            before = Comma(after);
        }
        if (isEndless)
        {
            int loop = nfa.AddState(), after = nfa.AddState();
            nfa.AddEpsilon(before, loop);
            WriteValue(nfa, loop, SchemaExpansion.ItemSchemas(alternative, counted), after);
            nfa.AddEpsilon(after, close);
            nfa.AddEpsilon(Comma(after), loop);
        }

        int Comma(int state)
        {
            int comma = nfa.AddState(), next = nfa.AddState();
            nfa.AddSymbol(state, ',', comma);
            nfa.AddEpsilon(comma, next);
            nfa.AddSymbol(comma, ' ', next);
            return next;
        }
    }

    private IReadOnlyList<JsonElement> ValuesOf(Alternative alternative, string place) =>
        alternative.Arrays.All(part => part.Prefix.Count == 0) && _expansion.Listed(SchemaExpansion.ItemSchemas(alternative, 0)) is { } values
            ? values
            : throw new GrammarException(GrammarErrorKind.NotServed, "uniqueItems", place, "it is served only where the schema of the items lists their values");

    /// <summary>One value as it is written.</summary>
    public static void WriteLiteral(Nfa nfa, int from, JsonElement value, int to)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                nfa.AddPath(from, Encoding.UTF8.GetBytes(Spelling.JsonString(SchemaSource.Text(value))), to);
                break;
            case JsonValueKind.Number:
                nfa.AddPath(from, Encoding.ASCII.GetBytes(value.GetRawText()), to);
                if (JsonNumber.Parse(value) is { IsInteger: true, Exponent: < 20 } number)
                    nfa.AddPath(from, Encoding.ASCII.GetBytes(number.Scaled(0).ToString(CultureInfo.InvariantCulture)), to);
                break;
            case JsonValueKind.Array or JsonValueKind.Object:
                bool isArray = value.ValueKind == JsonValueKind.Array;
                int at = nfa.AddState();
                nfa.AddSymbol(from, isArray ? '[' : '{', at);
                bool first = true;
                foreach ((string? name, JsonElement item) in isArray ? value.EnumerateArray().Select(item => ((string?)null, item)) : value.EnumerateObject().Select(property => ((string?)property.Name, property.Value)))
                {
                    if (!first)
                        at = WithSpace(at, ',');
                    first = false;
                    if (name is not null)
                    {
                        int key = nfa.AddState();
                        nfa.AddPath(at, Encoding.UTF8.GetBytes(Spelling.JsonString(name)), key);
                        at = WithSpace(key, ':');
                    }
                    int next = nfa.AddState();
                    WriteLiteral(nfa, at, item, next);
                    at = next;
                }
                nfa.AddSymbol(at, isArray ? ']' : '}', to);
                break;
            default:
                nfa.AddPath(from, Encoding.ASCII.GetBytes(value.GetRawText()), to);
                break;
        }

        int WithSpace(int state, char mark)
        {
            int after = nfa.AddState(), next = nfa.AddState();
            nfa.AddSymbol(state, mark, after);
            nfa.AddEpsilon(after, next);
            nfa.AddSymbol(after, ' ', next);
            return next;
        }
    }
}
