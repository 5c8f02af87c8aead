namespace TpServe.Grammar.Pushdown;

/// <summary>Bytes Lo to Hi lead to a node.</summary>
internal readonly record struct ByteEdge(byte Lo, byte Hi, int Target);

/// <summary>A rule runs from Start; when it ends, Return goes on.</summary>
internal readonly record struct RuleCall(int Start, int Return);

/// <summary>A compiled grammar: rules as deterministic automata over bytes that call one another. Nodes of all rules share one numbering.</summary>
/// <remarks>
/// Counted strings lie above the stored nodes; theirs are computed. From every node something is accepted.
/// Threads  immutable.
/// </remarks>
internal sealed class PushdownProgram(int start, ByteEdge[][] edges, RuleCall[][] calls, bool[] accepts, CountedString[] strings)
{
    private readonly int[] _stringFirst = [.. strings.Select(text => text.FirstNode)];

    public int Start { get; } = start;

    /// <summary>Nodes that are stored.</summary>
    public int StoredNodes => edges.Length;

    /// <summary>The counted string that a node belongs to; null = a stored node.</summary>
    public CountedString? StringOf(int node)
    {
        if (node < edges.Length)
            return null;
        int found = Array.BinarySearch(_stringFirst, node);
        return strings[found >= 0 ? found : ~found - 1];
    }

    public bool IsAccepting(int node) => node < edges.Length ? accepts[node] : StringOf(node)!.Closed == node;

    /// <summary>Accepting, and nothing can follow within the rule.</summary>
    public bool IsEnd(int node) => node < edges.Length ? accepts[node] && edges[node].Length == 0 && calls[node].Length == 0 : IsAccepting(node);

    /// <summary>Neither accepting nor calling: what comes next is a byte of this rule.</summary>
    public bool IsPlain(int node) => node < edges.Length ? !accepts[node] && calls[node].Length == 0 : !IsAccepting(node);

    public bool HasBytes(int node) => node < edges.Length ? edges[node].Length > 0 : !IsAccepting(node);

    public ReadOnlySpan<RuleCall> CallsOf(int node) => node < edges.Length ? calls[node] : [];

    /// <summary>The byte edges of a stored node.</summary>
    public ReadOnlySpan<ByteEdge> EdgesOf(int node) => edges[node];

    /// <summary>The node after a byte, -1 = none.</summary>
    public int Step(int node, byte value)
    {
        if (node >= edges.Length)
            return StringOf(node)!.Step(node, value);
        foreach (ref readonly ByteEdge edge in edges[node].AsSpan())
        {
            if (value < edge.Lo)
                return -1;
            if (value <= edge.Hi)
                return edge.Target;
        }
        return -1;
    }
}
