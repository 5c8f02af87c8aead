namespace TpServe.Grammar.Automata;

/// <summary>Symbols Lo to Hi lead to a state.</summary>
internal readonly record struct DfaEdge(int Lo, int Hi, int Target);

/// <summary>A deterministic automaton over integer symbols; state 0 is the start. A missing edge rejects.</summary>
/// <remarks>Threads  immutable.</remarks>
internal sealed class Dfa
{
    private readonly CompileBudget _budget;

    public Dfa(IReadOnlyList<DfaEdge[]> edges, IReadOnlyList<bool> accepts, CompileBudget budget)
    {
        Edges = [.. edges];
        Accepts = [.. accepts];
        _budget = budget;
    }

    public DfaEdge[][] Edges { get; }

    public bool[] Accepts { get; }

    public int States => Edges.Length;

    public CompileBudget Budget => _budget;

    /// <summary>True where nothing is accepted. Only of a trimmed automaton.</summary>
    public bool IsEmpty => !Accepts[0] && Edges[0].Length == 0;

    /// <summary>An automaton whose states are found by trying each symbol from the start on.</summary>
    public static Dfa Explore<TState>(TState start, IReadOnlyList<int> symbols, Func<TState, int, TState?> step, Func<TState, bool> accepts, CompileBudget budget)
        where TState : struct
    {
        Dictionary<TState, int> numbers = new() { [start] = 0 };
        List<TState> states = [start];
        List<DfaEdge[]> edges = [];
        budget.AddStates(1);
        for (int i = 0; i < states.Count; i++)
        {
            List<DfaEdge> made = [];
            budget.Spend(symbols.Count);
            foreach (int symbol in symbols)
                if (step(states[i], symbol) is TState next)
                {
                    if (!numbers.TryGetValue(next, out int number))
                    {
                        budget.AddStates(1);
                        numbers.Add(next, number = states.Count);
                        states.Add(next);
                    }
                    made.Add(new DfaEdge(symbol, symbol, number));
                }
            edges.Add([.. made]);
        }
        return new Dfa(edges, [.. states.Select(accepts)], budget).Trim();
    }

    /// <summary>Texts of so many characters; most null = without end.</summary>
    public static Dfa OfLength(int least, int? most, CompileBudget budget)
    {
        int last = most ?? least;
        budget.AddStates(last + 1);
        List<DfaEdge[]> edges = [];
        for (int count = 0; count <= last; count++)
        {
            int next = count < last ? count + 1 : most is null ? last : -1;
            edges.Add(next < 0 ? [] : [.. CharSet.All.Ranges.Select(range => new DfaEdge(range.Lo, range.Hi, next))]);
        }
        return new Dfa(edges, [.. Enumerable.Range(0, last + 1).Select(count => count >= least)], budget).Trim();
    }

    /// <summary>The target of a symbol, -1 = none.</summary>
    public int Step(int state, int symbol)
    {
        DfaEdge[] edges = Edges[state];
        int lo = 0, hi = edges.Length - 1;
        while (lo <= hi)
        {
            int middle = (lo + hi) / 2;
            if (symbol < edges[middle].Lo)
                hi = middle - 1;
            else if (symbol > edges[middle].Hi)
                lo = middle + 1;
            else
                return edges[middle].Target;
        }
        return -1;
    }

    public bool Matches(IEnumerable<int> symbols)
    {
        int state = 0;
        foreach (int symbol in symbols)
            if ((state = Step(state, symbol)) < 0)
                return false;
        return Accepts[state];
    }

    /// <summary>Without the states that cannot be reached or cannot reach acceptance; edges for which <paramref name="dead"/> holds are dropped first.</summary>
    public Dfa Trim(Func<DfaEdge, bool>? dead = null)
    {
        List<int>[] into = new List<int>[States];
        for (int s = 0; s < States; s++)
            into[s] = [];
        for (int s = 0; s < States; s++)
        {
            _budget.Spend(Edges[s].Length);
            foreach (DfaEdge edge in Edges[s])
                if (dead?.Invoke(edge) != true)
                    into[edge.Target].Add(s);
        }
        bool[] lives = new bool[States];
        Stack<int> open = new();
        for (int s = 0; s < States; s++)
            if (Accepts[s])
            {
                lives[s] = true;
                open.Push(s);
            }
        while (open.TryPop(out int s))
            foreach (int from in into[s])
                if (!lives[from])
                {
                    lives[from] = true;
                    open.Push(from);
                }

        // Numbered in the order they are found from the start, so that equal automata look alike.
        int[] number = new int[States];
        Array.Fill(number, -1);
        List<int> order = [0];
        number[0] = 0;
        List<DfaEdge[]> edges = [];
        for (int i = 0; i < order.Count; i++)
        {
            List<DfaEdge> kept = [];
            foreach (DfaEdge edge in Edges[order[i]])
            {
                if (!lives[edge.Target] || dead?.Invoke(edge) == true)
                    continue;
                if (number[edge.Target] < 0)
                {
                    number[edge.Target] = order.Count;
                    order.Add(edge.Target);
                }
                kept.Add(edge with { Target = number[edge.Target] });
            }
            edges.Add([.. kept]);
        }
        _budget.ReturnStates(States - order.Count);
        return new Dfa(edges, [.. order.Select(s => Accepts[s])], _budget);
    }

    /// <summary>The smallest automaton of the same language (Moore's refinement); itself where that would be too much work.</summary>
    public Dfa Minimize(long mostWork = 4_000_000)
    {
        int[] block = [.. Accepts.Select(accepts => accepts ? 1 : 0)];
        int blocks = block.Distinct().Count();
        long work = 0, step = Edges.Sum(edges => (long)edges.Length) + States;
        while (true)
        {
            if ((work += step) > mostWork)
                return this;
            _budget.Spend(step);
            Dictionary<Signature, int> seen = [];
            int[] refined = new int[States];
            for (int s = 0; s < States; s++)
            {
                Signature signature = new(block[s], Edges[s], block);
                if (!seen.TryGetValue(signature, out refined[s]))
                    seen.Add(signature, refined[s] = seen.Count);
            }
            block = refined;
            if (seen.Count == blocks)
                break;
            blocks = seen.Count;
        }
        if (blocks == States)
            return this;
        DfaEdge[][] edges = new DfaEdge[blocks][];
        bool[] accepts = new bool[blocks];
        // Blocks are numbered by their first state, so the start stays 0.
        for (int s = States - 1; s >= 0; s--)
        {
            edges[block[s]] = [.. Signature.Merge(Edges[s], block)];
            accepts[block[s]] = Accepts[s];
        }
        _budget.ReturnStates(States - blocks);
        return new Dfa(edges, accepts, _budget);
    }

    /// <summary>What both accept.</summary>
    public Dfa Intersect(Dfa other)
    {
        Dictionary<(int, int), int> numbers = new() { [(0, 0)] = 0 };
        List<(int A, int B)> pairs = [(0, 0)];
        List<DfaEdge[]> edges = [];
        _budget.AddStates(1);
        for (int i = 0; i < pairs.Count; i++)
        {
            DfaEdge[] a = Edges[pairs[i].A], b = other.Edges[pairs[i].B];
            List<DfaEdge> made = [];
            for (int x = 0, y = 0; x < a.Length && y < b.Length;)
            {
                _budget.Spend(1);
                int lo = Math.Max(a[x].Lo, b[y].Lo), hi = Math.Min(a[x].Hi, b[y].Hi);
                if (lo <= hi)
                {
                    (int, int) target = (a[x].Target, b[y].Target);
                    if (!numbers.TryGetValue(target, out int number))
                    {
                        _budget.AddStates(1);
                        numbers.Add(target, number = pairs.Count);
                        pairs.Add(target);
                    }
                    made.Add(new DfaEdge(lo, hi, number));
                }
                if (a[x].Hi < b[y].Hi)
                    x++;
                else
                    y++;
            }
            edges.Add([.. made]);
        }
        return new Dfa(edges, [.. pairs.Select(pair => Accepts[pair.A] && other.Accepts[pair.B])], _budget).Trim();
    }

    /// <summary>Every string over the alphabet that this does not accept.</summary>
    public Dfa Complement(CharSet alphabet)
    {
        int sink = States;
        List<DfaEdge[]> edges = [];
        _budget.AddStates(1 + States);
        foreach (DfaEdge[] old in Edges)
        {
            List<DfaEdge> all = [.. old];
            foreach ((int lo, int hi) in alphabet.Except(CharSet.Of(old.Select(edge => (edge.Lo, edge.Hi)))).Ranges)
                all.Add(new DfaEdge(lo, hi, sink));
            all.Sort((a, b) => a.Lo.CompareTo(b.Lo));
            edges.Add([.. all]);
        }
        edges.Add([.. alphabet.Ranges.Select(range => new DfaEdge(range.Lo, range.Hi, sink))]);
        _budget.ReturnStates(States);
        return new Dfa(edges, [.. Accepts.Select(accepts => !accepts), true], _budget).Trim();
    }

    private readonly struct Signature : IEquatable<Signature>
    {
        private readonly int _block, _hash;
        private readonly List<DfaEdge> _edges;

        public Signature(int own, DfaEdge[] edges, int[] block)
        {
            _block = own;
            _edges = Merge(edges, block);
            HashCode hash = default;
            hash.Add(own);
            foreach (DfaEdge edge in _edges)
                hash.Add(edge);
            _hash = hash.ToHashCode();
        }

        public static List<DfaEdge> Merge(DfaEdge[] edges, int[] block)
        {
            List<DfaEdge> merged = new(edges.Length);
            foreach (DfaEdge edge in edges)
            {
                int target = block[edge.Target];
                if (merged.Count > 0 && merged[^1].Target == target && merged[^1].Hi + 1 == edge.Lo)
                    merged[^1] = merged[^1] with { Hi = edge.Hi };
                else
                    merged.Add(edge with { Target = target });
            }
            return merged;
        }

        public bool Equals(Signature other) =>
            _block == other._block && _hash == other._hash && System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_edges).SequenceEqual(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(other._edges));

        public override bool Equals(object? obj) => obj is Signature other && Equals(other);

        public override int GetHashCode() => _hash;
    }
}
