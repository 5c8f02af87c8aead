using TpServe.Grammar.Pushdown;

namespace TpServe.Grammar.Masks;

/// <summary>Classes of bytes over which whole subtrees of a vocabulary are taken at once: most tokens are of ordinary characters only.</summary>
internal static class ByteClasses
{
    /// <summary>More bytes than any token has.</summary>
    public const int Endless = 1 << 20;

    /// <summary>From the widest to the narrowest.</summary>
    public static IReadOnlyList<(byte Lo, byte Hi)[]> All { get; } =
    [
        [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E)], // what stands raw in a JSON string
        [(0x20, 0x20), (0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)],
        [(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)],
        [(0x61, 0x7A)],
    ];

    /// <summary>For each byte, the classes that hold it, as bits.</summary>
    public static byte[] Members { get; } = [.. Enumerable.Range(0, 256).Select(value => (byte)All.Index().Sum(one => Array.Exists(one.Item, range => range.Lo <= value && value <= range.Hi) ? 1 << one.Index : 0))];

    /// <summary>For each stored node, how many bytes of a class can be read whatever they are, with no call and no end of the rule on the way.</summary>
    /// <remarks>One less than the distance to the nearest node that lacks a byte of the class: a search from those nodes backwards.</remarks>
    public static int[] FreeBytes(PushdownProgram program, (byte Lo, byte Hi)[] bytes)
    {
        int nodes = program.StoredNodes;
        int[] free = new int[nodes];
        List<int>[] before = new List<int>[nodes];
        Queue<int> open = new();
        for (int node = 0; node < nodes; node++)
        {
            List<int> targets = [];
            bool all = program.CallsOf(node).Length == 0 && Covers(program.EdgesOf(node), bytes, targets) && targets.TrueForAll(program.IsPlain);
            free[node] = all ? Endless : 0;
            if (!all)
                open.Enqueue(node);
            else
                foreach (int target in targets)
                    (before[target] ??= []).Add(node);
        }
        while (open.TryDequeue(out int node))
            foreach (int from in before[node] ?? [])
                if (free[from] == Endless)
                {
                    free[from] = free[node] + 1;
                    open.Enqueue(from);
                }
        return free;
    }

    private static bool Covers(ReadOnlySpan<ByteEdge> edges, (byte Lo, byte Hi)[] bytes, List<int> targets)
    {
        int e = 0;
        foreach ((byte lo, byte hi) in bytes)
            for (int at = lo; at <= hi;)
            {
                while (e < edges.Length && edges[e].Hi < at)
                    e++;
                if (e == edges.Length || edges[e].Lo > at)
                    return false;
                if (targets.Count == 0 || targets[^1] != edges[e].Target)
                    targets.Add(edges[e].Target);
                at = edges[e].Hi + 1;
            }
        return true;
    }
}
