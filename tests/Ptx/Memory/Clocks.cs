namespace TpServe.Ptx.Memory;

/// <summary>What a warp knows of the other warps of the grid: for each block it is ordered after something of, the clocks of its warps.</summary>
/// <remarks>Snapshots are immutable once published; a join makes a new one. Blocks never synchronised with cost nothing.</remarks>
internal sealed class Clocks
{
    private readonly Dictionary<int, int[]> _blocks;

    private Clocks(Dictionary<int, int[]> blocks) => _blocks = blocks;

    public static Clocks Of(int block, int[] own, Clocks? foreign)
    {
        Dictionary<int, int[]> blocks = foreign == null ? [] : new(foreign._blocks);
        blocks[block] = (int[])own.Clone();
        return new Clocks(blocks);
    }

    public static Clocks? Join(Clocks? a, Clocks? b)
    {
        if (a == null || b == null || ReferenceEquals(a, b))
            return a ?? b;
        Dictionary<int, int[]> blocks = new(a._blocks);
        foreach ((int block, int[] clocks) in b._blocks)
            blocks[block] = blocks.TryGetValue(block, out int[]? old) ? Join(old, clocks) : clocks;
        return new Clocks(blocks);
    }

    public static int[] Join(int[] a, int[] b)
    {
        int[] joined = new int[a.Length];
        for (int i = 0; i < joined.Length; i++)
            joined[i] = Math.Max(a[i], b[i]);
        return joined;
    }

    public int[]? BlockOrNull(int block) => _blocks.GetValueOrDefault(block);
}
