using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar.Masks;

/// <summary>What a vocabulary's tokens do inside a JSON string, sorted by how many characters they add: masks of strings of any length come from it.</summary>
/// <remarks>
/// Inside a string nearly every token is allowed, so a walk there is the whole trie; it is done once for a vocabulary, here.
/// Threads  immutable.
/// </remarks>
internal sealed class StringTokens
{
    private readonly TokenTrie _trie;
    private readonly List<ulong[]> _within = []; // [c] = tokens that stay in the string and begin at most c characters
    private readonly List<int>[] _byCount;
    private readonly (int Count, int Node)[] _quotes; // nodes where the string closes, by the characters before
    private readonly LocalMask _free;
    private readonly List<int> _inside = []; // tokens that stay in the string, in order of their bytes
    private readonly int[] _insideBefore; // for each node, how many of those stand before its own
    private readonly bool[] _boundaries; // nodes whose path stays in the string and ends between two characters
    private readonly int[] _quoteNodes;

    public StringTokens(TokenTrie trie)
    {
        _trie = trie;
        List<(int Count, int Node)> quotes = [];
        List<List<int>> byCount = [[]];
        int[] phases = new int[trie.LongestToken + 1], counts = new int[trie.LongestToken + 1];
        ReadOnlySpan<byte> bytes = trie.Bytes;
        _boundaries = new bool[trie.Nodes];
        _insideBefore = new int[trie.Nodes + 1];
        int filled = 0;
        for (int node = 1; node < trie.Nodes;)
        {
            int depth = trie.Depths[node], phase = phases[depth - 1], count = counts[depth - 1];
            if (phase == CountedString.Boundary && bytes[node] == '"')
            {
                quotes.Add((count, node));
                node = trie.Ends[node];
                continue;
            }
            int next = CountedString.NextPhase(phase, bytes[node]);
            if (next == 255)
            {
                node = trie.Ends[node];
                continue;
            }
            phases[depth] = next;
            counts[depth] = count + (phase == CountedString.Boundary ? 1 : 0);
            while (byCount.Count <= counts[depth])
                byCount.Add([]);
            byCount[counts[depth]].AddRange(trie.TokensAt(node));
            Fill(node);
            _inside.AddRange(trie.TokensAt(node));
            _boundaries[node] = next == CountedString.Boundary;
            node++;
        }
        Fill(trie.Nodes);
        _quoteNodes = [.. quotes.Select(quote => quote.Node)];
        _byCount = [.. byCount];
        _quotes = [.. quotes.OrderBy(quote => quote.Count).ThenBy(quote => quote.Node)];
        ulong[] within = new ulong[trie.MaskWords];
        foreach (List<int> tokens in _byCount)
        {
            foreach (int token in tokens)
                within[token >> 6] |= 1ul << (token & 63);
            _within.Add([.. within]);
            if (_within.Count > MostTables)
                break;
        }
        for (int count = _within.Count; count < _byCount.Length; count++)
            foreach (int token in _byCount[count])
                within[token >> 6] |= 1ul << (token & 63);
        All = within;
        _free = Make(0, int.MaxValue);

        void Fill(int upTo)
        {
            for (; filled <= upTo; filled++)
                _insideBefore[filled] = _inside.Count;
        }
    }

    /// <summary>The path to a node stays in a string and ends between two characters: below it a free string goes on as from the trie's root.</summary>
    public bool IsBoundary(int node) => _boundaries[node];

    /// <summary>Tokens below a node that stay in the string; the path to the node does, too.</summary>
    public ReadOnlySpan<int> InsideBelow(int node) =>
        System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_inside)[_insideBefore[node + 1].._insideBefore[_trie.Ends[node]]];

    /// <summary>Nodes below a node at which the string closes.</summary>
    public ReadOnlySpan<int> QuotesBelow(int node)
    {
        int from = Array.BinarySearch(_quoteNodes, node), to = Array.BinarySearch(_quoteNodes, _trie.Ends[node]);
        return _quoteNodes.AsSpan((from < 0 ? ~from : from)..(to < 0 ? ~to : to));
    }

    // Tokens of more characters than this are few, so their tables would be nearly alike.
    private const int MostTables = 24;

    private ulong[] All { get; }

    /// <summary>What is allowed where at least so many and at most so many characters may still come.</summary>
    public LocalMask Local(int least, int most) => least <= 0 && most >= _byCount.Length - 1 ? _free : Make(least, most);

    private LocalMask Make(int least, int most)
    {
        ulong[] bits;
        if (most >= _byCount.Length - 1)
            bits = [.. All];
        else if (most < _within.Count)
            bits = [.. _within[Math.Max(most, 0)]];
        else
        {
            bits = [.. All];
            for (int count = most + 1; count < _byCount.Length; count++)
                foreach (int token in _byCount[count])
                    bits[token >> 6] &= ~(1ul << (token & 63));
        }
        List<int> pops = [];
        foreach ((int count, int node) in _quotes)
        {
            if (count < least || count > most)
                continue;
            foreach (int token in _trie.TokensAt(node))
                bits[token >> 6] |= 1ul << (token & 63);
            if (_trie.Ends[node] > node + 1)
                pops.Add(node);
        }
        return new LocalMask(new TokenBits(bits), [.. pops], false, 0);
    }
}
