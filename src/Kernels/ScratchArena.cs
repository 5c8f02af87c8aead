namespace TpServe.Kernels;

/// <summary>A stack of scratch tensors in a few big chunks, which grow while a step is new and are then only reused.</summary>
/// <remarks>
/// A tensor's address depends only on what was rented before it since the arena was empty: the same step rents the same addresses, as a recorded
/// graph needs.
/// Threads  the rank's thread. A mark is a position: chunk number in the upper half, byte in the lower.
/// </remarks>
/// <param name="allocate">A block of device memory of at least so many bytes.</param>
internal sealed class ScratchArena(Func<long, DeviceBuffer> allocate) : IDisposable
{
    private const int Alignment = 64;
    private const long SmallestChunk = 4L << 20;
    private readonly List<DeviceBuffer> _chunks = [];
    private int _chunk;
    private long _top;

    /// <summary>The present top.</summary>
    public long Mark() => ((long)_chunk << 40) | _top;

    /// <summary>Gives back everything rented since the mark was taken.</summary>
    public void Release(long mark)
    {
        if (mark < 0 || mark > Mark())
            throw new ArgumentOutOfRangeException(nameof(mark), mark, "not a mark of this arena, or one that was already released");
        _chunk = (int)(mark >> 40);
        _top = mark & ((1L << 40) - 1);
    }

    /// <summary>Rents again, all at once, what was rented when the mark was taken.</summary>
    public void Restore(long mark)
    {
        int chunk = (int)(mark >> 40);
        long top = mark & ((1L << 40) - 1);
        if (mark < Mark() || (mark != 0 && (chunk >= _chunks.Count || top > _chunks[chunk].Bytes)))
            throw new ArgumentOutOfRangeException(nameof(mark), mark, "not a mark above the present top of this arena");
        _chunk = chunk;
        _top = top;
    }

    /// <summary>A contiguous tensor with undefined content.</summary>
    public Tensor Rent(int rows, int columns, ElementType type)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        long bytes = ((long)rows * columns * type.SizeBytes() + Alignment - 1) / Alignment * Alignment;
        while (_chunk < _chunks.Count && _top + bytes > _chunks[_chunk].Bytes)
        {
            _chunk++;
            _top = 0;
        }
        if (_chunk == _chunks.Count)
            _chunks.Add(allocate(Math.Max(bytes, SmallestChunk << Math.Min(_chunk, 4))));
        Tensor tensor = new(_chunks[_chunk], _top, rows, columns, columns, type);
        _top += bytes;
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceBuffer chunk in _chunks)
            chunk.Dispose();
        _chunks.Clear();
    }
}
