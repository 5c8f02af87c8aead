namespace TpServe.Grammar.Automata;

/// <summary>A nondeterministic automaton over integer symbols: code points, or bytes with calls of rules above them.</summary>
/// <remarks>Begin and End are zero-width: passed only before the first symbol, and only after the last.</remarks>
internal sealed class Nfa(CompileBudget budget)
{
    private const int Epsilon = -1, Begin = -2, End = -3;

    private readonly List<int> _first = [];
    private readonly List<Edge> _edges = [];
    private readonly HashSet<int> _accepting = [];

    public int States => _first.Count;

    public CompileBudget Budget { get; } = budget;

    public int AddState()
    {
        Budget.AddStates(1);
        _first.Add(-1);
        return _first.Count - 1;
    }

    public void Accept(int state) => _accepting.Add(state);

    public void AddRange(int from, int lo, int hi, int to) => Add(from, lo, hi, to);

    public void AddSymbol(int from, int symbol, int to) => Add(from, symbol, symbol, to);

    public void AddEpsilon(int from, int to) => Add(from, Epsilon, Epsilon, to);

    public void AddBegin(int from, int to) => Add(from, Begin, Begin, to);

    public void AddEnd(int from, int to) => Add(from, End, End, to);

    /// <summary>A path of symbols between two states.</summary>
    public void AddPath(int from, ReadOnlySpan<byte> symbols, int to)
    {
        for (int i = 0; i < symbols.Length; i++)
        {
            int next = i == symbols.Length - 1 ? to : AddState();
            AddSymbol(from, symbols[i], next);
            from = next;
        }
        if (symbols.Length == 0)
            AddEpsilon(from, to);
    }

    /// <summary>The deterministic automaton of the same language, trimmed to states from which something is accepted.</summary>
    /// <remarks>
    /// 1. A state of the result is the epsilon closure of a set of states. 2. Its symbols are swept in order; each stretch over which the same targets
    /// are active is one edge. 3. What cannot reach acceptance is dropped. The NFA's states are given back to the budget.
    /// </remarks>
    public Dfa Determinize(int start)
    {
        Dictionary<int[], int> byClosure = new(IntsComparer.Instance), byKernel = new(IntsComparer.Instance);
        List<int[]> closures = [];
        List<bool> accepts = [];
        List<DfaEdge[]> edges = [];
        int[] mark = new int[States];
        int stamp = 0;

        int StateOf(int[] kernel, bool first)
        {
            if (!first && byKernel.TryGetValue(kernel, out int known))
                return known;
            int[] closure = Close(kernel, first, end: false, mark, ++stamp);
            // The first state alone may have passed Begin, so it is never the same as another.
            if (first || !byClosure.TryGetValue(closure, out int state))
            {
                Budget.AddStates(1);
                state = closures.Count;
                closures.Add(closure);
                accepts.Add(Array.Exists(Close(closure, first, end: true, mark, ++stamp), _accepting.Contains));
                if (!first)
                    byClosure.Add(closure, state);
            }
            if (!first)
                byKernel.Add(kernel, state);
            return state;
        }

        StateOf([start], first: true);
        List<(int At, int Change, int Target)> events = [];
        SortedDictionary<int, int> active = [];
        for (int done = 0; done < closures.Count; done++)
        {
            events.Clear();
            foreach (int state in closures[done])
                for (int e = _first[state]; e >= 0; e = _edges[e].Next)
                    if (_edges[e].Lo >= 0)
                    {
                        events.Add((_edges[e].Lo, 1, _edges[e].Target));
                        events.Add((_edges[e].Hi + 1, -1, _edges[e].Target));
                    }
            Budget.Spend(events.Count + closures[done].Length);
            events.Sort();
            List<DfaEdge> made = [];
            active.Clear();
            for (int i = 0; i < events.Count;)
            {
                int at = events[i].At;
                for (; i < events.Count && events[i].At == at; i++)
                {
                    int count = active.GetValueOrDefault(events[i].Target) + events[i].Change;
                    if (count == 0)
                        active.Remove(events[i].Target);
                    else
                        active[events[i].Target] = count;
                }
                if (active.Count == 0)
                    continue;
                Budget.Spend(active.Count);
                DfaEdge edge = new(at, events[i].At - 1, StateOf([.. active.Keys], first: false));
                if (made.Count > 0 && made[^1].Target == edge.Target && made[^1].Hi + 1 == edge.Lo)
                    made[^1] = made[^1] with { Hi = edge.Hi };
                else
                    made.Add(edge);
            }
            edges.Add([.. made]);
        }
        Budget.ReturnStates(States);
        return new Dfa(edges, accepts, Budget).Trim();
    }

    private int[] Close(int[] kernel, bool first, bool end, int[] mark, int stamp)
    {
        List<int> closure = [];
        foreach (int state in kernel)
            if (mark[state] != stamp)
            {
                mark[state] = stamp;
                closure.Add(state);
            }
        for (int i = 0; i < closure.Count; i++)
            for (int e = _first[closure[i]]; e >= 0; e = _edges[e].Next)
            {
                Edge edge = _edges[e];
                bool passes = edge.Lo == Epsilon || (edge.Lo == Begin && first) || (edge.Lo == End && end);
                if (passes && mark[edge.Target] != stamp)
                {
                    mark[edge.Target] = stamp;
                    closure.Add(edge.Target);
                }
            }
        Budget.Spend(closure.Count);
        closure.Sort();
        return [.. closure];
    }

    private void Add(int from, int lo, int hi, int to)
    {
        Budget.Spend(1);
        _edges.Add(new Edge(lo, hi, to, _first[from]));
        _first[from] = _edges.Count - 1;
    }

    private readonly record struct Edge(int Lo, int Hi, int Target, int Next);

    private sealed class IntsComparer : IEqualityComparer<int[]>
    {
        public static IntsComparer Instance { get; } = new();

        public bool Equals(int[]? x, int[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(int[] ints)
        {
            HashCode hash = default;
            hash.AddBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(ints.AsSpan()));
            return hash.ToHashCode();
        }
    }
}
