using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

/// <summary>Maps from query heads to KV heads on the device: uploaded once, so that a recorded step finds them there.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class HeadMaps(CudaQueue queue) : IDisposable
{
    private readonly List<(int[] Map, DeviceMemory Memory)> _known = [];

    /// <summary>The map on the device.</summary>
    /// <exception cref="ArgumentException">A query head wants a KV head that the cache lacks.</exception>
    public ArrayView<int> OnDevice(IReadOnlyList<int> kvHeadOfHead, int kvHeads)
    {
        foreach ((int[] map, DeviceMemory memory) in _known)
            if (IsSame(map, kvHeadOfHead, kvHeads))
                return memory.View.Cast<int>();
        return Upload([.. kvHeadOfHead], kvHeads);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, DeviceMemory memory) in _known)
            memory.Dispose();
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

    private ArrayView<int> Upload(int[] map, int kvHeads)
    {
        for (int head = 0; head < map.Length; head++)
            Require.That((uint)map[head] < (uint)kvHeads, $"Query head {head} wants KV head {map[head]} of {kvHeads}.");
        DeviceMemory memory = queue.Allocate(Math.Max(1, map.Length) * sizeof(int));
        _known.Add((map, memory));
        ArrayView<int> view = memory.View.Cast<int>();
        if (map.Length > 0)
            view.CopyFromCPU(queue.Stream, map);
        return view;
    }
}
