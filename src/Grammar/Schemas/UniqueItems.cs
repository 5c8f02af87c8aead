using System.Text.Json;
using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Schemas;

/// <summary>Arrays of listed values of which none comes twice.</summary>
/// <remarks>
/// Few values come in any order: there is a state for each set of those that have come. Many come in the order of the list, as properties do, so that
/// the last one says enough.
/// </remarks>
internal sealed class UniqueItems(Nfa nfa, int min, int max, IReadOnlyList<JsonElement> values)
{
    private const int MostInAnyOrder = 6;

    private readonly bool _isAnyOrder = values.Count <= MostInAnyOrder;
    private readonly Dictionary<(long Come, int Count), int> _states = [];
    private readonly Queue<(long Come, int Count)> _open = new();

    /// <summary>Writes the arrays between two states.</summary>
    public void Write(int from, int to)
    {
        if (min > values.Count)
            return;
        int open = nfa.AddState(), close = nfa.AddState();
        nfa.AddSymbol(from, '[', open);
        nfa.AddSymbol(close, ']', to);
        nfa.AddEpsilon(open, StateOf(0, 0));
        while (_open.TryDequeue(out (long Come, int Count) place))
        {
            // Before an item, and after the comma where there is one.
            int state = _states[place], item = state;
            nfa.Budget.Spend(values.Count);
            if (place.Count >= min)
                nfa.AddEpsilon(state, close);
            if (place.Count == max)
                continue;
            if (place.Count > 0)
            {
                int comma = nfa.AddState();
                item = nfa.AddState();
                nfa.AddSymbol(state, ',', comma);
                nfa.AddEpsilon(comma, item);
                nfa.AddSymbol(comma, ' ', item);
            }
            for (int i = 0; i < values.Count; i++)
                if (_isAnyOrder ? (place.Come >> i & 1) == 0 : i >= place.Come)
                    SchemaCompiler.WriteLiteral(nfa, item, values[i], StateOf(_isAnyOrder ? place.Come | 1L << i : i + 1, place.Count + 1));
        }
    }

    private int StateOf(long come, int count)
    {
        // Beyond what the bounds tell apart the count does not matter.
        (long, int) place = (come, max < values.Count ? count : Math.Min(count, Math.Max(min, 1)));
        if (!_states.TryGetValue(place, out int state))
        {
            _states.Add(place, state = nfa.AddState());
            _open.Enqueue(place);
        }
        return state;
    }
}
