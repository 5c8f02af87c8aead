using TpServe.Sharding;

namespace TpServe.Collectives.Tests;

/// <summary>Partial sums of leaves, what a rank makes of its own, and the whole sum by plain recursion: the oracle.</summary>
internal static class LeafSums
{
    /// <summary>leaves × elements values of very different sizes, so that another order gives other bits.</summary>
    public static float[][] Random(int leaves, int elements, int seed)
    {
        Random random = new(seed);
        float[][] values = new float[leaves][];
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            values[leaf] = new float[elements];
            for (int i = 0; i < elements; i++)
                values[leaf][i] = (float)((random.NextDouble() * 2 - 1) * Math.Pow(10, random.Next(-3, 4)));
        }
        return values;
    }

    /// <summary>The tree over [low, high) from its definition: the larger half left, left + right.</summary>
    public static float[] Whole(float[][] leaves, int low, int high)
    {
        if (high - low == 1)
            return leaves[low];
        int half = (high - low + 1) / 2;
        float[] left = Whole(leaves, low, low + half), right = Whole(leaves, low + half, high);
        float[] sum = new float[left.Length];
        for (int i = 0; i < sum.Length; i++)
            sum[i] = left[i] + right[i];
        return sum;
    }

    /// <summary>The wrong way: each rank adds its leaves, then the ranks are added.</summary>
    public static float[] RankOrder(float[][] leaves, int[] boundaries)
    {
        float[] total = new float[leaves[0].Length];
        for (int rank = 0; rank + 1 < boundaries.Length; rank++)
        {
            float[] mine = new float[total.Length];
            for (int leaf = boundaries[rank]; leaf < boundaries[rank + 1]; leaf++)
                for (int i = 0; i < mine.Length; i++)
                    mine[i] += leaves[leaf][i];
            for (int i = 0; i < mine.Length; i++)
                total[i] += mine[i];
        }
        return total;
    }

    /// <summary>A rank's pieces, one after the other, by its own merge schedule.</summary>
    public static float[] Pieces(float[][] leaves, LeafShare share)
    {
        List<float[]> stack = [];
        for (int leaf = share.First; leaf < share.End; leaf++)
        {
            stack.Add(leaves[leaf]);
            for (int merge = 0; merge < share.Merges[leaf - share.First]; merge++)
            {
                float[] right = stack[^1], left = stack[^2];
                stack.RemoveAt(stack.Count - 1);
                stack[^1] = [.. left.Zip(right, (a, b) => a + b)];
            }
        }
        return [.. stack.SelectMany(piece => piece)];
    }

    /// <summary>Random ascending boundaries of so many leaves; ranks may own none.</summary>
    public static int[] Boundaries(int leaves, int degree, Random random)
    {
        int[] inner = [.. Enumerable.Range(0, degree - 1).Select(_ => random.Next(leaves + 1)).Order()];
        return [0, .. inner, leaves];
    }
}
