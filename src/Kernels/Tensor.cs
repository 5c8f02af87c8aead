namespace TpServe.Kernels;

/// <summary>A view of a matrix in device memory: rows of <see cref="Columns"/> elements, <see cref="RowStride"/> elements apart. Owns nothing.</summary>
/// <remarks>Threads   a value; the memory behind it belongs to the backend's stream until <see cref="ITensorBackend.Download"/> returns.</remarks>
public readonly struct Tensor
{
    /// <summary>A view of a buffer from an offset in bytes.</summary>
    /// <exception cref="ArgumentException">The view reaches beyond the buffer.</exception>
    public Tensor(DeviceBuffer buffer, long offsetBytes, int rows, int columns, int rowStride, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        long end = rows == 0 ? offsetBytes : offsetBytes + (((long)rowStride * (rows - 1)) + columns) * type.SizeBytes();
        if (rows < 0 || columns < 0 || offsetBytes < 0 || rowStride < columns || end > buffer.Bytes)
            throw new ArgumentException($"A view of {rows} x {columns} {type}, stride {rowStride}, at byte {offsetBytes} does not fit a buffer of {buffer.Bytes} bytes.");
        Buffer = buffer;
        OffsetBytes = offsetBytes;
        Rows = rows;
        Columns = columns;
        RowStride = rowStride;
        Type = type;
    }

    /// <summary>The memory looked into.</summary>
    public DeviceBuffer Buffer { get; }

    /// <summary>Where element (0, 0) lies.</summary>
    public long OffsetBytes { get; }

    /// <summary>Number of rows: tokens of the step, most often.</summary>
    public int Rows { get; }

    /// <summary>Elements in a row.</summary>
    public int Columns { get; }

    /// <summary>Elements from one row's start to the next one's.</summary>
    public int RowStride { get; }

    /// <summary>Element type.</summary>
    public ElementType Type { get; }

    /// <summary>True where the rows follow each other without gaps.</summary>
    public bool IsContiguous => RowStride == Columns || Rows <= 1;

    /// <summary>Rows [first, first + count).</summary>
    public Tensor RowSlice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + count, Rows);
        return new Tensor(Buffer, OffsetBytes + (long)first * RowStride * Type.SizeBytes(), count, Columns, RowStride, Type);
    }

    /// <summary>Columns [first, first + count) of every row; the stride stays.</summary>
    public Tensor ColumnSlice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + count, Columns);
        return new Tensor(Buffer, OffsetBytes + (long)first * Type.SizeBytes(), Rows, count, RowStride, Type);
    }

    /// <summary>The same elements as rows × columns of another shape; only for a contiguous view.</summary>
    public Tensor Reshape(int rows, int columns)
    {
        if (!IsContiguous || (long)rows * columns != (long)Rows * Columns)
            throw new ArgumentException($"{Rows} x {Columns} (stride {RowStride}) cannot be seen as {rows} x {columns}.");
        return new Tensor(Buffer, OffsetBytes, rows, columns, columns, Type);
    }

    /// <summary>The address of element (row, 0), for backends whose memory is the host's.</summary>
    /// <exception cref="InvalidOperationException">The memory is on another device.</exception>
    public unsafe T* HostRow<T>(int row) where T : unmanaged
    {
        if (Buffer is not HostBuffer host)
            throw new InvalidOperationException($"A tensor on a {Buffer?.GetType().Name ?? "missing buffer"} has no host address.");
        return (T*)(host.Pointer + OffsetBytes + (long)row * RowStride * Type.SizeBytes());
    }

    /// <summary>The elements of one row, for backends whose memory is the host's.</summary>
    public unsafe Span<T> HostSpan<T>(int row) where T : unmanaged => new(HostRow<T>(row), Columns);

    /// <inheritdoc/>
    public override string ToString() => $"{Rows} x {Columns} {Type}";
}

/// <summary>The type of one element of an activation tensor.</summary>
public enum ElementType
{
    /// <summary>IEEE binary32.</summary>
    Float32,

    /// <summary>IEEE binary16.</summary>
    Float16,

    /// <summary>The upper half of a binary32.</summary>
    BFloat16,

    /// <summary>Two's complement, 32 bits: token ids, positions, slots, block numbers.</summary>
    Int32,

    /// <summary>A byte of a head's keys or values in 8 bits: a code, or half of the binary16 scale of a block of 32 codes. Only in a KV cache.</summary>
    Q8,
}

/// <summary>Facts about an <see cref="ElementType"/>.</summary>
public static class ElementTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int SizeBytes(this ElementType type) => type switch
    {
        ElementType.Q8 => 1,
        ElementType.Float16 or ElementType.BFloat16 => 2,
        _ => 4,
    };

    /// <summary>Columns of a row of a KV cache of this type: the elements of a head, and the scales where the type has them.</summary>
    /// <exception cref="ArgumentException">The head is not made of blocks of 32, and the type is.</exception>
    public static int KvColumns(this ElementType type, int headDim)
    {
        if (type != ElementType.Q8)
            return headDim;
        if (headDim % Q8Block.Elements != 0)
            throw new ArgumentException($"A cache of {type} has heads of blocks of {Q8Block.Elements} elements, not of {headDim}.", nameof(headDim));
        return headDim + (headDim / Q8Block.Elements * Q8Block.ScaleBytes);
    }
}

/// <summary>A block of device memory. Whoever allocated it disposes it; tensors only look into it.</summary>
public abstract class DeviceBuffer : IDisposable
{
    /// <summary>Usable bytes.</summary>
    public abstract long Bytes { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory; a second call does nothing.</summary>
    protected abstract void Dispose(bool disposing);
}
