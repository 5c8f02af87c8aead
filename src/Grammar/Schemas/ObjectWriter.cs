using System.Text;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar.Schemas;

/// <summary>One alternative's objects as an automaton over bytes, values by calls.</summary>
/// <remarks>
/// Declared properties come in the order of the schema, those that only "required" names after them, others last. Each step of the order has a state, so
/// that no declared name comes twice. Other names are written canonically until they differ from every declared one: no escape can spell a declared name.
/// Where names are counted, further names that are not declared do not raise the least count, for the same one could come twice.
/// </remarks>
internal sealed class ObjectWriter(SchemaCompiler compiler, SchemaExpansion expansion, Nfa nfa, Alternative alternative)
{
    private const int MostPatterns = 4;

    private readonly Spelling _spelling = new(nfa, insideJson: true);
    private readonly Dictionary<Place, int> _states = [];
    private readonly Queue<Place> _open = new();
    private readonly int _most = alternative.MaxProperties ?? -1;
    private readonly int _least = alternative.MinProperties;
    private List<string> _names = [];
    private bool[] _required = [];
    private int _lastRequired;

    private enum Kind
    {
        First, // after the opening brace
        Next, // after a comma
        Done, // after a value
    }

    // Index of the next declared property; properties so far, where they are counted; whether others have begun, and with enough properties.
    private readonly record struct Place(Kind Kind, int Index, int Count, bool Others, bool Enough);

    /// <summary>Writes the objects between two states.</summary>
    public void Write(int from, int to)
    {
        // 1. The declared names.
        _names = [.. alternative.Objects.SelectMany(part => part.Properties.Select(property => property.Name)).Concat(alternative.Required).Distinct()];
        HashSet<string> required = [.. alternative.Required];
        _required = [.. _names.Select(required.Contains)];
        _lastRequired = Array.LastIndexOf(_required, true);
        List<SchemaNode>[] schemas = [.. _names.Select(name => expansion.PropertySchemas(alternative, name))];
        bool[] allowed = [.. _names.Select(name => expansion.IsName(name, alternative))];

        // 2. The languages of other names, each with the schemas of its values.
        List<(Action<int, int> Write, List<SchemaNode> Schemas)> others = [.. OtherNames()];

        // 3. Places, as they are met.
        int open = nfa.AddState(), close = nfa.AddState();
        nfa.AddSymbol(from, '{', open);
        nfa.AddSymbol(close, '}', to);
        nfa.AddEpsilon(open, StateOf(new Place(Kind.First, 0, 0, false, false)));
        if (_lastRequired < 0 && _least == 0)
            nfa.AddEpsilon(open, close);
        Dictionary<(int, int), int> keys = [];
        while (_open.TryDequeue(out Place place))
        {
            int state = _states[place];
            nfa.Budget.Spend(4);
            if (place.Kind == Kind.Done)
            {
                if (place.Index > _lastRequired && (place.Others ? place.Enough : place.Count >= _least))
                    nfa.AddEpsilon(state, close);
                int comma = nfa.AddState(), next = StateOf(place with { Kind = Kind.Next });
                nfa.AddSymbol(state, ',', comma);
                nfa.AddEpsilon(comma, next);
                nfa.AddSymbol(comma, ' ', next);
                continue;
            }
            if (_most >= 0 && place.Count >= _most)
                continue;
            if (!place.Others && place.Index < _names.Count)
            {
                WriteDeclared(place, state);
                continue;
            }
            bool enough = place.Others ? place.Enough : place.Count + 1 >= _least;
            Place done = new(Kind.Done, _names.Count, _most >= 0 ? place.Count + 1 : 0, true, enough);
            foreach ((Action<int, int> write, List<SchemaNode> values) in others)
            {
                int key = nfa.AddState();
                write(state, key);
                WriteValue(key, values, StateOf(done));
            }
        }

        void WriteDeclared(Place place, int state)
        {
            int index = place.Index;
            if (!_required[index])
                nfa.AddEpsilon(state, StateOf(place with { Index = index + 1 }));
            if (!allowed[index])
                return;
            if (!keys.TryGetValue((index, place.Count), out int key))
            {
                keys.Add((index, place.Count), key = nfa.AddState());
                int end = nfa.AddState();
                nfa.AddPath(key, Encoding.UTF8.GetBytes(Spelling.JsonString(_names[index])), end);
                WriteValue(end, schemas[index], StateOf(new Place(Kind.Done, index + 1, CountAfter(place.Count), false, false)));
            }
            nfa.AddEpsilon(state, key);
        }
    }

    private int CountAfter(int count) => _most >= 0 ? count + 1 : Math.Min(count + 1, _least);

    private int StateOf(Place place)
    {
        if (!_states.TryGetValue(place, out int state))
        {
            _states.Add(place, state = nfa.AddState());
            _open.Enqueue(place);
        }
        return state;
    }

    private void WriteValue(int from, List<SchemaNode> schemas, int to)
    {
        int colon = nfa.AddState(), value = nfa.AddState();
        nfa.AddSymbol(from, ':', colon);
        nfa.AddEpsilon(colon, value);
        nfa.AddSymbol(colon, ' ', value);
        compiler.WriteValue(nfa, value, schemas, to);
    }

    private IEnumerable<(Action<int, int>, List<SchemaNode>)> OtherNames()
    {
        List<string> patterns = [.. alternative.Objects.SelectMany(part => part.Patterns.Select(pattern => pattern.Pattern)).Distinct()];
        if (patterns.Count == 0 && alternative.Names.Count == 0)
        {
            yield return (WriteUndeclared, [.. alternative.Objects.Select(part => part.Additional).OfType<SchemaNode>()]);
            yield break;
        }
        if (patterns.Count > MostPatterns)
            throw new GrammarException(GrammarErrorKind.NotServed, "patternProperties", alternative.Objects.SelectMany(part => part.Patterns).First().Schema.Place, $"more than {MostPatterns} patterns for one object are not served");

        List<string> places = [.. patterns.Select(text => alternative.Objects.SelectMany(part => part.Patterns).First(pattern => pattern.Pattern == text).Schema.Place)];

        // Each set of patterns that a name may match has names of its own, and values that satisfy the schemas of just those.
        CompileBudget budget = nfa.Budget;
        Dfa names = DeclaredNames(budget).Complement(CharSet.All);
        if (alternative.Names.Count > 0)
            names = names.Intersect(compiler.StringsOf(alternative.Names));
        for (int set = 0; set < 1 << patterns.Count; set++)
        {
            Dfa own = names;
            for (int i = 0; i < patterns.Count && !own.IsEmpty; i++)
            {
                // Names that only some dialects match are in neither.
                bool matches = (set >> i & 1) == 1;
                Dfa pattern = expansion.Search(patterns[i], places[i], wide: !matches);
                own = own.Intersect(matches ? pattern : pattern.Complement(CharSet.All));
            }
            if (own.IsEmpty)
                continue;
            List<SchemaNode> schemas = [];
            foreach (ObjectPart part in alternative.Objects)
            {
                List<SchemaNode> matched = [.. part.Patterns.Where(pattern => (set >> patterns.IndexOf(pattern.Pattern) & 1) == 1).Select(pattern => pattern.Schema)];
                if (matched.Count == 0 && part.Additional is not null)
                    matched.Add(part.Additional);
                schemas.AddRange(matched);
            }
            Dfa bytes = ByteAutomaton.JsonString(own);
            yield return ((from, to) => SchemaCompiler.Embed(nfa, bytes, from, to), schemas);
        }
    }

    private Dfa DeclaredNames(CompileBudget budget)
    {
        Nfa declared = new(budget);
        int start = declared.AddState(), end = declared.AddState();
        declared.Accept(end);
        foreach (string name in _names)
        {
            int at = start;
            foreach (Rune rune in name.EnumerateRunes())
            {
                int next = declared.AddState();
                declared.AddSymbol(at, rune.Value, next);
                at = next;
            }
            declared.AddEpsilon(at, end);
        }
        return declared.Determinize(start);
    }

    // Along the tree of declared names only their own characters go on; any other leads out of it, to any rest of a string.
    private void WriteUndeclared(int from, int to)
    {
        if (_names.Count == 0)
        {
            nfa.AddSymbol(from, ProgramBuilder.FirstCall + compiler.AnyString, to);
            return;
        }
        int root = nfa.AddState(), rest = nfa.AddState();
        nfa.AddSymbol(from, '"', root);
        nfa.AddSymbol(rest, ProgramBuilder.FirstCall + compiler.AnyRestOfString, to);
        Dictionary<(int, int), int> children = [];
        Dictionary<int, List<int>> characters = new() { [root] = [] };
        HashSet<int> ends = [];
        foreach (string name in _names)
        {
            int at = root;
            foreach (Rune rune in name.EnumerateRunes())
            {
                if (!children.TryGetValue((at, rune.Value), out int child))
                {
                    children.Add((at, rune.Value), child = nfa.AddState());
                    characters[at].Add(rune.Value);
                    characters.Add(child, []);
                    _spelling.Add(at, CharSet.Of(rune.Value, rune.Value), child);
                }
                at = child;
            }
            ends.Add(at);
        }
        foreach ((int at, List<int> own) in characters)
        {
            _spelling.Add(at, CharSet.Of(own.Select(c => (c, c))).Negate(), rest);
            if (!ends.Contains(at))
                nfa.AddSymbol(at, '"', to);
        }
    }
}
