using System.Numerics;
using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar.Masks;

/// <summary>The masks of one grammar over one vocabulary, with what was learned on the way.</summary>
/// <remarks>
/// 1. For a node, what tokens do within its rule is found once by a walk of the trie, and kept. 2. Where a rule ends inside a token, the rest of the token
/// is walked from the node to which the rule returns; that too is kept, by that pair. So a mask is mostly a few ors, at any depth and in any context.
/// 3. Only where the limit of depth is near does the state itself decide, by a walk of the whole trie.
/// Threads  any; one at a time.
/// </remarks>
internal sealed class TokenMasks(PushdownAutomaton automaton, TokenTrie trie)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<int, LocalMask> _locals = [];
    private readonly Dictionary<(int[] Returns, int Node), LocalMask> _rests = [];
    private readonly WalkStep[] _path = new WalkStep[trie.LongestToken + 1];
    private readonly List<int> _tokens = []; // of the walk that is going on
    private readonly int[]?[] _free = new int[]?[ByteClasses.All.Count];
    private readonly HashSet<Reading> _added = [];
    private long _bytes;

    public TokenTrie Trie { get; } = trie;

    /// <summary>Sets the bits of the tokens that may follow, clears all others.</summary>
    public void Fill(ParseState state, Span<ulong> mask)
    {
        if (mask.Length < Trie.MaskWords)
            throw new ArgumentException($"A mask over {Trie.VocabularySize} tokens needs {Trie.MaskWords} words, not {mask.Length}.", nameof(mask));
        mask.Clear();
        lock (_lock)
        {
            _added.Clear();
            foreach (Reading reading in state.Kernel)
                if (!Add(reading, mask))
                {
                    WalkAll(state, mask);
                    return;
                }
        }
    }

    // False where the stack could become too deep within a token.
    private bool Add(Reading reading, Span<ulong> mask)
    {
        if (!_added.Add(reading))
            return true;
        LocalMask local = LocalOf(reading.Node);
        if ((reading.Stack?.Depth ?? 0) + local.Depth > automaton.Limits.StackDepth)
            return false;
        local.Bits.AddTo(mask);
        Frame? stack = reading.Stack;
        if (local.ReturnsAtOnce && stack is not null && !Add(new Reading(stack.Return, stack.Parent), mask))
            return false;
        for (int[] returns = local.Returns; returns.Length > 0 && stack is not null; stack = stack.Parent)
        {
            LocalMask rest = RestOf(returns, stack.Return);
            if ((stack.Parent?.Depth ?? 0) + rest.Depth > automaton.Limits.StackDepth)
                return false;
            rest.Bits.AddTo(mask);
            RunBudget.Spend(1);
            returns = rest.Returns;
        }
        return true;
    }

    private LocalMask LocalOf(int node)
    {
        if (automaton.Program.StringOf(node) is CountedString text && node >= text.Inside && text.PhaseOf(node) == CountedString.Boundary)
        {
            int count = text.CountOf(node);
            int least = text.Min - count, most = text.Max == CountedString.Unbounded ? int.MaxValue : text.Max - count;
            if (least <= 0 && most >= Trie.LongestToken)
                return Trie.Strings.Local(0, int.MaxValue);
            return Kept(_locals, node) ?? Keep(_locals, node, Trie.Strings.Local(least, most));
        }
        return Kept(_locals, node) ?? Keep(_locals, node, Walk([0], automaton.StateOf(new Reading(node, Frame.Base))));
    }

    private LocalMask RestOf(int[] returns, int node) =>
        Kept(_rests, (returns, node)) ?? Keep(_rests, (returns, node), Walk(returns, automaton.StateOf(new Reading(node, Frame.Base))));

    private static LocalMask? Kept<TKey>(Dictionary<TKey, LocalMask> cache, TKey key) where TKey : notnull => cache.GetValueOrDefault(key);

    private LocalMask Keep<TKey>(Dictionary<TKey, LocalMask> cache, TKey key, LocalMask mask) where TKey : notnull
    {
        if (_bytes > automaton.Limits.MaskCacheBytes)
        {
            _locals.Clear();
            _rests.Clear();
            _bytes = 0;
        }
        cache[key] = mask;
        _bytes += mask.Bytes;
        return mask;
    }

    // The subtrees of some nodes, from a state with the base below it.
    private LocalMask Walk(ReadOnlySpan<int> roots, ParseState start)
    {
        List<int> returns = []; // one below another may reach the same again, and so on at each caller
        _tokens.Clear();
        int deepest = start.Depth;
        foreach (int root in roots)
        {
            deepest = Math.Max(deepest, Walk(root, start, returns));
            // A caller that ends at once lets its own caller decide about the same bytes.
            if (start.ReturnsToBase && root != 0)
                returns.Add(root);
        }
        return new LocalMask(new TokenBits(_tokens, Trie.MaskWords), [.. returns.Distinct()], start.ReturnsToBase, deepest);
    }

    // 1. With one reading the program itself is asked; a state is made only where a rule is called or may end. 2. With more, states are. 3. Where all bytes of
    // a subtree are free, its tokens are taken without a look.
    private int Walk(int root, ParseState start, List<int> returns)
    {
        ReadOnlySpan<byte> bytes = Trie.Bytes;
        ReadOnlySpan<int> depths = Trie.Depths, ends = Trie.Ends, firsts = Trie.FirstToken;
        PushdownProgram program = automaton.Program;
        int deepest = 0, end = ends[root];
        _path[depths[root]] = WalkStep.After(start);
        for (int node = root + 1; node < end;)
        {
            int depth = depths[node];
            bool isLeaf = ends[node] == node + 1;
            ref readonly WalkStep before = ref _path[depth - 1];
            ref WalkStep step = ref _path[depth];
            if (before.State is null)
            {
                int target = program.Step(before.Reading.Node, bytes[node]);
                if (target < 0)
                {
                    node = ends[node];
                    continue;
                }
                step = program.IsPlain(target) ? new WalkStep(null, new Reading(target, before.Reading.Stack)) : Arrive(automaton.StateOf(new Reading(target, before.Reading.Stack)));
            }
            else
            {
                ParseState state = before.State.Known(bytes[node]) ?? automaton.Step(before.State, bytes[node]);
                if (state == ParseState.Dead)
                {
                    node = ends[node];
                    continue;
                }
                step = Arrive(state);
            }
            for (int at = firsts[node]; at < firsts[node + 1]; at++)
                _tokens.Add(Trie.Tokens[at]);
            if (isLeaf || step.State?.Active.Length == 0)
                node = ends[node];
            else if (step.State is null && Trie.Strings.IsBoundary(node) && IsFreeString(step.Reading.Node))
            {
                deepest = Math.Max(deepest, WalkString(node, step.Reading, returns));
                node = ends[node];
            }
            else if (step.State is null && IsFree(step.Reading.Node, Trie.ClassesBelow[node], Trie.Heights[node]))
            {
                _tokens.AddRange(Trie.Tokens[firsts[node + 1]..firsts[ends[node]]]);
                node = ends[node];
            }
            else
                node++;

            WalkStep Arrive(ParseState state)
            {
                deepest = Math.Max(deepest, state.Depth);
                if (state.ReturnsToBase && !isLeaf)
                    returns.Add(node);
                return WalkStep.After(state);
            }
        }
        return deepest;
    }

    private bool IsFreeString(int node) =>
        automaton.Program.StringOf(node) is CountedString { Max: CountedString.Unbounded } text && node >= text.Inside && text.PhaseOf(node) == CountedString.Boundary && text.CountOf(node) >= text.Min;

    // Below a node in a string without bounds: what stays inside is known; where the string closes the caller goes on.
    private int WalkString(int node, Reading reading, List<int> returns)
    {
        _tokens.AddRange(Trie.Strings.InsideBelow(node));
        ParseState closed = automaton.StateOf(new Reading(automaton.Program.StringOf(reading.Node)!.Closed, reading.Stack));
        int deepest = closed.Depth;
        foreach (int quote in Trie.Strings.QuotesBelow(node))
        {
            _tokens.AddRange(Trie.TokensAt(quote));
            if (Trie.Ends[quote] == quote + 1)
                continue;
            if (closed.ReturnsToBase)
                returns.Add(quote);
            if (closed.Active.Length > 0)
                deepest = Math.Max(deepest, Walk(quote, closed, returns));
        }
        return deepest;
    }

    private bool IsFree(int node, byte classes, int height)
    {
        if (automaton.Program.StringOf(node) is CountedString text)
            return (classes & 1) != 0 && text.PhaseOf(node) == CountedString.Boundary && node >= text.Inside && (text.Max == CountedString.Unbounded || text.Max - text.CountOf(node) >= height);
        for (int rest = classes & ((1 << ByteClasses.All.Count) - 1); rest != 0; rest &= rest - 1)
            if (FreeBytes(BitOperations.TrailingZeroCount(rest))[node] >= height)
                return true;
        return false;
    }

    private int[] FreeBytes(int one) => _free[one] ??= ByteClasses.FreeBytes(automaton.Program, ByteClasses.All[one]);

    private void WalkAll(ParseState state, Span<ulong> mask)
    {
        _tokens.Clear();
        Walk(0, state, []);
        mask.Clear();
        new TokenBits(_tokens, Trie.MaskWords).AddTo(mask);
    }

    /// <summary>Where a walk stands: a state, or only its reading where it has one.</summary>
    private readonly record struct WalkStep(ParseState? State, Reading Reading)
    {
        public static WalkStep After(ParseState state) => state.Active is [var only] ? new WalkStep(null, only) : new WalkStep(state, default);
    }
}
