namespace TpServe.Kernels.Tests.Cpu;

/// <summary>The canonical tree over leaves, for tests: balanced halves, the larger half left.</summary>
internal static class LinearTree
{
    /// <summary>Leaves [from, to) of a row whose leaves end at the given boundaries.</summary>
    public static InputLeaves Share(int[] boundaries, int from, int to)
    {
        int[] merges = new int[to - from];
        Plan(0, boundaries.Length - 1);
        return new InputLeaves(boundaries[from..(to + 1)], merges);

        void Plan(int low, int high)
        {
            if (high - low < 2)
                return;
            int middle = low + (high - low + 1) / 2;
            Plan(low, middle);
            Plan(middle, high);
            if (low >= from && high <= to)
                merges[high - 1 - from]++;
        }
    }

    /// <summary>The subtrees [low, high) that a share leaves as pieces, in order.</summary>
    public static List<(int Low, int High)> Pieces(int leaves, int from, int to)
    {
        List<(int, int)> pieces = [];
        Visit(0, leaves);
        return pieces;

        void Visit(int low, int high)
        {
            if (high <= from || low >= to)
                return;
            if (low >= from && high <= to)
            {
                pieces.Add((low, high));
                return;
            }
            int middle = low + (high - low + 1) / 2;
            Visit(low, middle);
            Visit(middle, high);
        }
    }

    /// <summary>The sum of all leaves from every rank's pieces, in tree order.</summary>
    public static float[] Finish(Dictionary<(int Low, int High), float[]> pieces, int low, int high)
    {
        if (pieces.TryGetValue((low, high), out float[]? piece))
            return piece;
        int middle = low + (high - low + 1) / 2;
        float[] left = Finish(pieces, low, middle), right = Finish(pieces, middle, high);
        return [.. left.Zip(right, (a, b) => a + b)];
    }
}
