using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Maps from query heads to KV heads on the device: uploaded once, so that a recorded step finds them there.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class HeadMaps(CudaQueue queue) : IDisposable
{
    private const int PieceIntegers = 4;
    private readonly List<HeadMap> _known = [];

    /// <summary>The map on the device.</summary>
    /// <exception cref="ArgumentException">A query head wants a KV head that the cache lacks.</exception>
    public HeadMap OnDevice(IReadOnlyList<int> kvHeadOfHead, int kvHeads)
    {
        foreach (HeadMap known in _known)
            if (IsSame(known.Heads, kvHeadOfHead, kvHeads))
                return known;
        int[] heads = [.. kvHeadOfHead];
        for (int head = 0; head < heads.Length; head++)
            Require.That((uint)heads[head] < (uint)kvHeads, $"Query head {head} wants KV head {heads[head]} of {kvHeads}.");
        int[] pieces = Pieces(heads);
        HeadMap map = new(heads, pieces.Length / PieceIntegers, MostHeads(pieces), Upload(heads), Upload(pieces));
        _known.Add(map);
        return map;
    }

    /// <summary>Neighbouring query heads of one KV head, at most <see cref="TensorCut.MostHeads"/> and as even as they can be: (first head, heads, KV head, 0) each.</summary>
    public static int[] Pieces(IReadOnlyList<int> kvHeadOfHead)
    {
        List<int> pieces = [];
        for (int first = 0; first < kvHeadOfHead.Count;)
        {
            int end = first + 1;
            while (end < kvHeadOfHead.Count && kvHeadOfHead[end] == kvHeadOfHead[first])
                end++;
            int kvHead = kvHeadOfHead[first];
            for (int parts = (end - first + TensorCut.MostHeads - 1) / TensorCut.MostHeads; parts > 0; parts--)
            {
                int heads = (end - first + parts - 1) / parts;
                pieces.AddRange([first, heads, kvHead, 0]);
                first += heads;
            }
        }
        return [.. pieces];
    }

    /// <summary>The most query heads of a piece.</summary>
    public static int MostHeads(int[] pieces)
    {
        int most = 1;
        for (int i = 1; i < pieces.Length; i += PieceIntegers)
            most = Math.Max(most, pieces[i]);
        return most;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (HeadMap map in _known)
        {
            map.KvHeads.Dispose();
            map.Pieces.Dispose();
        }
        _known.Clear();
    }

    private static bool IsSame(int[] map, IReadOnlyList<int> other, int kvHeads)
    {
        if (map.Length != other.Count)
            return false;
        for (int i = 0; i < map.Length; i++)
            if (map[i] != other[i] || map[i] >= kvHeads)
                return false;
        return true;
    }

    private DeviceMemory Upload(int[] integers)
    {
        DeviceMemory memory = queue.Allocate(Math.Max(1, integers.Length) * sizeof(int));
        if (integers.Length > 0)
            memory.View.Cast<int>().CopyFromCPU(queue.Stream, integers);
        return memory;
    }
}

/// <summary>One map on the device.</summary>
/// <param name="Heads">The KV head of each query head.</param>
/// <param name="PieceCount">Pieces of neighbouring query heads that share a KV head.</param>
/// <param name="MostHeads">The most query heads of a piece.</param>
/// <param name="KvHeads">The KV heads on the device.</param>
/// <param name="Pieces">The pieces on the device.</param>
internal sealed record HeadMap(int[] Heads, int PieceCount, int MostHeads, DeviceMemory KvHeads, DeviceMemory Pieces);
