namespace TpServe.Kernels;

/// <summary>The rows of one matrix as they lie in the file, in the order this rank wants them: what a backend packs from.</summary>
/// <remarks>
/// Shapes   [Outputs, FileColumns]; every row is whole, also where only some of its columns are wanted.
/// Threads  <see cref="Row"/> may be called from several threads at once.
/// </remarks>
public abstract class WeightRows
{
    /// <summary>Storage format of every row.</summary>
    public abstract WeightFormat Format { get; }

    /// <summary>Output features: rows this rank owns.</summary>
    public abstract int Outputs { get; }

    /// <summary>Input features of a whole row in the file.</summary>
    public abstract int FileColumns { get; }

    /// <summary>The file's bytes of row <paramref name="output"/> (0-based among this rank's rows).</summary>
    public abstract ReadOnlySpan<byte> Row(int output);

    /// <summary>Part of a row, of whole blocks: what the file does not hold as rows is only put together where it is asked for.</summary>
    /// <exception cref="ArgumentException">The row is not as long as its format says.</exception>
    public virtual ReadOnlySpan<byte> Part(int output, int start, int length)
    {
        ReadOnlySpan<byte> row = Row(output);
        return row.Length == Format.RowBytes(FileColumns)
            ? row.Slice(start, length)
            : throw new ArgumentException($"A row of {FileColumns} {Format} weights has {row.Length} bytes, expected {Format.RowBytes(FileColumns)}.");
    }

    /// <summary>Rows from <paramref name="first"/> on are packed: what is mapped of them may go. Reading them again is slow, not wrong.</summary>
    public virtual void Release(int first, int count)
    {
    }
}

/// <summary>A weight matrix in the layout of the backend that packed it.</summary>
public abstract class PackedWeight : IDisposable
{
    /// <summary>The format of the file; values are never requantised.</summary>
    public abstract WeightFormat Format { get; }

    /// <summary>Output features.</summary>
    public abstract int Outputs { get; }

    /// <summary>The input features it covers and the order in which their partial sums are added.</summary>
    public abstract InputLeaves Leaves { get; }

    /// <summary>Device bytes held.</summary>
    public abstract long Bytes { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the device memory.</summary>
    protected abstract void Dispose(bool disposing);
}
