namespace TpServe.Kernels.Reference;

/// <summary>A stack of host memory for scratch tensors, in segments that are kept once allocated.</summary>
/// <remarks>Threads   one thread: the rank's.</remarks>
internal sealed class ScratchStack(long segmentBytes) : IDisposable
{
    private const int Alignment = 64;
    private const int OffsetBits = 40; // a mark is segment << 40 | offset: a terabyte a segment
    private readonly List<HostBuffer> _segments = [];
    private int _segment;
    private long _offset;

    /// <summary>Bytes held, used or not.</summary>
    public long Bytes => _segments.Sum(segment => segment.Bytes);

    /// <summary>The present top.</summary>
    public long Mark() => ((long)_segment << OffsetBits) | _offset;

    /// <summary>Takes everything above the mark off the stack.</summary>
    /// <exception cref="ArgumentException">The mark lies above the top.</exception>
    public void Release(long mark)
    {
        Require.That(mark >= 0 && mark <= Mark(), $"Mark {mark} is not below the top {Mark()}.");
        _segment = (int)(mark >> OffsetBits);
        _offset = mark & ((1L << OffsetBits) - 1);
    }

    /// <summary>A tensor on top of the stack, its rows contiguous, its start aligned to a cache line; content undefined.</summary>
    public Tensor Rent(int rows, int columns, ElementType type)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        long bytes = (long)rows * columns * type.SizeBytes();
        bytes = (bytes + Alignment - 1) / Alignment * Alignment;
        while (_segment < _segments.Count && _offset + bytes > _segments[_segment].Bytes)
        {
            _segment++;
            _offset = 0;
        }
        if (_segment == _segments.Count)
            _segments.Add(new HostBuffer(Math.Max(bytes, segmentBytes)));
        Tensor tensor = new(_segments[_segment], _offset, rows, columns, columns, type);
        _offset += bytes;
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (HostBuffer segment in _segments)
            segment.Dispose();
        _segments.Clear();
    }
}
