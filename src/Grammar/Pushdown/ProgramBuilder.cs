using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Pushdown;

/// <summary>Gathers rules and links them to a program.</summary>
/// <remarks>Threads  one compilation, one thread.</remarks>
internal sealed class ProgramBuilder(CompileBudget budget)
{
    /// <summary>Symbols from here on are calls of rules.</summary>
    public const int FirstCall = 1 << 20;

    private const long MostStringNodes = 1L << 30;

    private readonly List<Rule> _rules = [];
    private readonly Dictionary<(int Min, int Max, bool Inside), int> _strings = [];

    public CompileBudget Budget { get; } = budget;

    /// <summary>A rule whose automaton is given later.</summary>
    public int Declare(string name)
    {
        Budget.AddStates(1);
        _rules.Add(new Rule(name));
        return _rules.Count - 1;
    }

    public void Define(int rule, Dfa automaton)
    {
        // One edge for each call: calls of neighbouring rules may have been joined to a range.
        List<DfaEdge[]> edges = [.. automaton.Edges.Select(row => row.SelectMany(
            edge => edge.Lo < FirstCall ? [edge] : Enumerable.Range(edge.Lo, edge.Hi - edge.Lo + 1).Select(symbol => new DfaEdge(symbol, symbol, edge.Target))).ToArray())];
        _rules[rule].Automaton = new Dfa(edges, automaton.Accepts, Budget);
    }

    /// <summary>Strings of so many characters, quotes included; or what follows the opening quote.</summary>
    public int CountedString(int min, int max, bool inside = false)
    {
        if (max > Pushdown.CountedString.LargestCount)
            max = Pushdown.CountedString.LargestCount;
        if (!_strings.TryGetValue((min, max, inside), out int rule))
        {
            rule = Declare("string");
            _rules[rule].Counted = (min, max, inside);
            if ((max != Pushdown.CountedString.Unbounded && min > max) || min > Pushdown.CountedString.LargestCount)
                _rules[rule].IsNever = true;
            _strings.Add((min, max, inside), rule);
        }
        return rule;
    }

    /// <summary>The program that starts with a rule.</summary>
    /// <remarks>1. Rules that derive nothing go, with what needs them. 2. Rules that are not reached go. 3. Left recursion is refused. 4. Nodes get numbers.</remarks>
    /// <exception cref="GrammarException">Nothing is accepted, or a rule calls itself before it reads anything.</exception>
    public PushdownProgram Link(int root)
    {
        FindProductive();
        if (!_rules[root].Derives)
            throw new GrammarException(GrammarErrorKind.Unsatisfiable, _rules[root].Name, "", "no text satisfies it");
        foreach (Rule rule in _rules)
            if (rule is { Derives: true, Automaton: Dfa automaton })
                rule.Automaton = automaton.Trim(edge => edge.Lo >= FirstCall && !_rules[edge.Lo - FirstCall].Derives);
        List<int> reached = Reach(root);
        RefuseLeftRecursion(reached);
        return Number(root, reached);
    }

    private void FindProductive()
    {
        foreach (Rule rule in _rules)
            rule.Derives = rule is { Counted: not null, IsNever: false };
        for (bool changed = true; changed;)
        {
            changed = false;
            // Rules that are called stand mostly after those that call them.
            for (int i = _rules.Count - 1; i >= 0; i--)
                if (!_rules[i].Derives && _rules[i].Automaton is Dfa automaton && Accepts(automaton, edge => edge.Lo < FirstCall || _rules[edge.Lo - FirstCall].Derives))
                    changed = _rules[i].Derives = true;
        }
    }

    // Whether acceptance can be reached over the edges that count.
    private bool Accepts(Dfa automaton, Func<DfaEdge, bool> counts) => Walk(automaton, counts).Exists(state => automaton.Accepts[state]);

    private List<int> Walk(Dfa automaton, Func<DfaEdge, bool> counts)
    {
        bool[] seen = new bool[automaton.States];
        List<int> open = [0];
        seen[0] = true;
        for (int i = 0; i < open.Count; i++)
        {
            Budget.Spend(1 + automaton.Edges[open[i]].Length);
            foreach (DfaEdge edge in automaton.Edges[open[i]])
                if (!seen[edge.Target] && counts(edge))
                {
                    seen[edge.Target] = true;
                    open.Add(edge.Target);
                }
        }
        return open;
    }

    private List<int> Reach(int root)
    {
        HashSet<int> seen = [root];
        List<int> reached = [root];
        for (int i = 0; i < reached.Count; i++)
            foreach (DfaEdge[] row in _rules[reached[i]].Automaton?.Edges ?? [])
                foreach (DfaEdge edge in row)
                    if (edge.Lo >= FirstCall && seen.Add(edge.Lo - FirstCall))
                        reached.Add(edge.Lo - FirstCall);
        return reached;
    }

    private void RefuseLeftRecursion(List<int> reached)
    {
        HashSet<int> nullable = [];
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (int rule in reached)
                if (!nullable.Contains(rule) && _rules[rule].Automaton is Dfa automaton && Accepts(automaton, IsSilent))
                    changed = nullable.Add(rule);
        }
        Dictionary<int, List<int>> firsts = [];
        foreach (int rule in reached)
            if (_rules[rule].Automaton is Dfa automaton)
                firsts[rule] = [.. Walk(automaton, IsSilent).SelectMany(state => automaton.Edges[state]).Where(edge => edge.Lo >= FirstCall).Select(edge => edge.Lo - FirstCall).Distinct()];

        // Depth first, without the machine's stack: a rule that is met while it is open calls itself.
        Dictionary<int, bool> open = [];
        foreach (int root in reached)
        {
            Stack<(int Rule, int Next)> path = new();
            if (open.TryAdd(root, true))
                path.Push((root, 0));
            while (path.TryPop(out (int Rule, int Next) top))
            {
                List<int> called = firsts.GetValueOrDefault(top.Rule, []);
                if (top.Next == called.Count)
                {
                    open[top.Rule] = false;
                    continue;
                }
                path.Push((top.Rule, top.Next + 1));
                int callee = called[top.Next];
                if (open.TryAdd(callee, true))
                    path.Push((callee, 0));
                else if (open[callee])
                    throw new GrammarException(GrammarErrorKind.NotServed, _rules[callee].Name, "", "the rule calls itself before it reads a character (left recursion)");
            }
        }

        bool IsSilent(DfaEdge edge) => edge.Lo >= FirstCall && nullable.Contains(edge.Lo - FirstCall);
    }

    private PushdownProgram Number(int root, List<int> reached)
    {
        Dictionary<int, int> first = [];
        int nodes = 0;
        foreach (int rule in reached)
            if (_rules[rule].Automaton is Dfa automaton)
            {
                first.Add(rule, nodes);
                nodes += automaton.States;
            }
        List<CountedString> strings = [];
        long next = nodes;
        Dictionary<(int, int), CountedString> made = [];
        foreach (int rule in reached)
            if (_rules[rule].Counted is (int min, int max, bool inside))
            {
                if (!made.TryGetValue((min, max), out CountedString? counted))
                {
                    counted = new CountedString((int)next, min, max);
                    next += counted.Nodes;
                    if (next > MostStringNodes)
                        throw GrammarException.Limit("lengths of strings together", MostStringNodes);
                    strings.Add(counted);
                    made.Add((min, max), counted);
                }
                first.Add(rule, inside ? counted.Inside : counted.Opening);
            }

        ByteEdge[][] edges = new ByteEdge[nodes][];
        RuleCall[][] calls = new RuleCall[nodes][];
        bool[] accepts = new bool[nodes];
        foreach (int rule in reached)
            if (_rules[rule].Automaton is Dfa automaton)
                for (int state = 0; state < automaton.States; state++)
                {
                    int node = first[rule] + state;
                    accepts[node] = automaton.Accepts[state];
                    edges[node] = [.. automaton.Edges[state].Where(edge => edge.Lo < FirstCall).Select(edge => new ByteEdge((byte)edge.Lo, (byte)edge.Hi, first[rule] + edge.Target))];
                    calls[node] = [.. automaton.Edges[state].Where(edge => edge.Lo >= FirstCall).Select(edge => new RuleCall(first[edge.Lo - FirstCall], first[rule] + edge.Target))];
                }
        return new PushdownProgram(first[root], edges, calls, accepts, [.. strings]);
    }

    private sealed class Rule(string name)
    {
        public string Name { get; } = name;

        public Dfa? Automaton { get; set; }

        public (int Min, int Max, bool Inside)? Counted { get; set; }

        public bool IsNever { get; set; }

        public bool Derives { get; set; }
    }
}
