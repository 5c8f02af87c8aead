using System.Buffers;

namespace TpServe.Tokenization.Models;

/// <summary>Texts by their prefixes, over UTF-16 units; each text has a value, the first given.</summary>
internal sealed class TextTrie
{
    /// <summary>The node of the empty prefix.</summary>
    public const int Root = 0;

    private readonly Dictionary<long, int> _edges = [];
    private readonly List<int> _values = [-1];
    private readonly HashSet<char> _firsts = [];
    private SearchValues<char>? _firstUnits;

    public bool IsEmpty => _values.Count == 1;

    /// <summary>The units that begin a text, for a fast search.</summary>
    public SearchValues<char> FirstUnits => _firstUnits ??= SearchValues.Create([.. _firsts]);

    /// <summary>Adds a text that is not empty; before any search.</summary>
    public void Add(string text, int value)
    {
        _firsts.Add(text[0]);
        int node = Root;
        foreach (char unit in text)
        {
            if (!_edges.TryGetValue(Edge(node, unit), out int next))
            {
                next = _values.Count;
                _edges.Add(Edge(node, unit), next);
                _values.Add(-1);
            }
            node = next;
        }
        if (_values[node] < 0)
            _values[node] = value;
    }

    /// <summary>The node one unit further, or -1.</summary>
    public int Step(int node, char unit) => _edges.TryGetValue(Edge(node, unit), out int next) ? next : -1;

    /// <summary>The value of the text that ends here, or -1.</summary>
    public int ValueAt(int node) => _values[node];

    private static long Edge(int node, char unit) => ((long)node << 16) | unit;
}
