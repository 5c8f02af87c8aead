using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;

namespace TpServe.Model.Weights;

/// <summary>Rows [firstRow, firstRow + rows) of one matrix of a checkpoint, in plain order whatever order the file has.</summary>
internal class TensorRows(ModelCheckpoint checkpoint, TensorInfo tensor, int firstRow, int rows, int headDim) : WeightRows
{
    private const long LargeBytes = 64 << 20;

    private readonly int _rowBytes = checked((int)FormatOf(tensor).RowBytes(tensor.Shape[^1]));

    /// <inheritdoc/>
    public override WeightFormat Format => FormatOf(tensor);

    /// <inheritdoc/>
    public override int Outputs => rows;

    /// <inheritdoc/>
    public override int FileColumns => tensor.Shape[^1];

    /// <summary>Rows of the tensor: all outputs, but where zeros follow them.</summary>
    public virtual int Rows => rows;

    /// <summary>Equal where rows of the same numbers are the same: the tensor's name, or more where it holds several matrices.</summary>
    public virtual string Source => tensor.Name;

    /// <summary>The first of them in the whole matrix.</summary>
    public virtual int FirstRow => firstRow;

    /// <summary>The rows of a tensor, however the file keeps it.</summary>
    public static TensorRows Of(ModelCheckpoint checkpoint, TensorInfo tensor, int firstRow, int rows, int headDim) => tensor.Storage is { } storage
        ? new AssembledRows(checkpoint, tensor, storage, firstRow, rows, headDim)
        : new TensorRows(checkpoint, tensor, firstRow, rows, headDim);

    /// <summary>The tensor they are rows of.</summary>
    public TensorInfo Tensor => tensor;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)rows, nameof(output));
        return FileBytes(FileRow(tensor.RowOrder, firstRow + output, headDim, tensor.Shape[0]));
    }

    /// <summary>A row as the file has it.</summary>
    protected ReadOnlySpan<byte> FileBytes(int row) => checkpoint.Bytes(tensor, (long)row * _rowBytes, _rowBytes);

    /// <summary>Says that they are packed next.</summary>
    public virtual void Expect() => ExpectFile(firstRow, rows);

    /// <summary>The same of rows as the file has them; those of a head, whatever their order, lie together.</summary>
    protected void ExpectFile(int row, int count)
    {
        if (tensor.Storage is null) // else its codes, scales and zeros lie in tensors of their own
            checkpoint.Expect(tensor, (long)row * _rowBytes, (long)count * _rowBytes);
    }

    /// <inheritdoc/>
    /// <remarks>Only of matrices that are large: the pages of others go when they are packed. The page before is given back with these: its other rows are packed or read again.</remarks>
    public override void Release(int first, int count)
    {
        if (tensor.RowOrder == RowOrder.Plain)
            ReleaseFile(firstRow + first, count);
    }

    /// <summary>The same of rows as the file has them.</summary>
    protected void ReleaseFile(int row, int count)
    {
        if (tensor.ByteCount < LargeBytes)
            return;
        long start = Math.Max(0, ((long)row * _rowBytes) - Environment.SystemPageSize), end = ((long)row + count) * _rowBytes;
        checkpoint.Drop(tensor, start, (int)(end - start));
    }

    /// <summary>What the kernels call a tensor's storage type: the numbers of both are the same.</summary>
    public static WeightFormat FormatOf(TensorInfo tensor) => (WeightFormat)tensor.Type;

    /// <summary>Where the file keeps row <paramref name="row"/> of the plain order.</summary>
    public static int FileRow(RowOrder order, int row, int headDim, int rows)
    {
        if (order == RowOrder.Plain)
            return row;
        if (order == RowOrder.HeadTriples)
        {
            (int part, int inPart) = Math.DivRem(row, rows / 3);
            return (((inPart / headDim * 3) + part) * headDim) + (inPart % headDim);
        }
        (int head, int inHead) = Math.DivRem(row, headDim);
        (int half, int pair) = Math.DivRem(inHead, headDim / 2);
        return head * headDim + 2 * pair + half;
    }
}

/// <summary>Rows of several matrices of one format and width, one after the other: what becomes one packed matrix.</summary>
internal sealed class ConcatenatedRows : WeightRows
{
    private readonly IReadOnlyList<TensorRows> _parts;
    private readonly int[] _ends;

    /// <summary>The parts in order; at least one, all of the first one's format and width.</summary>
    public ConcatenatedRows(IReadOnlyList<TensorRows> parts)
    {
        _parts = parts;
        _ends = new int[parts.Count];
        for (int i = 0, end = 0; i < parts.Count; i++)
            _ends[i] = end += parts[i].Outputs;
    }

    /// <inheritdoc/>
    public override WeightFormat Format => _parts[0].Format;

    /// <inheritdoc/>
    public override int Outputs => _ends[^1];

    /// <inheritdoc/>
    public override int FileColumns => _parts[0].FileColumns;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        (TensorRows part, int row) = Find(output);
        return part.Row(row);
    }

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Part(int output, int start, int length)
    {
        (TensorRows part, int row) = Find(output);
        return part.Part(row, start, length);
    }

    /// <inheritdoc/>
    public override void Release(int first, int count)
    {
        for (int part = 0, begin = 0; part < _parts.Count; begin = _ends[part++])
        {
            int from = Math.Max(first, begin), end = Math.Min(first + count, _ends[part]);
            if (end > from)
                _parts[part].Release(from - begin, end - from);
        }
    }

    private (TensorRows Part, int Row) Find(int output)
    {
        // The first part that ends behind it; parts without rows end where the one before does.
        int part = 0, end = _ends.Length;
        while (part < end)
        {
            int middle = (part + end) / 2;
            (part, end) = _ends[middle] > output ? (part, middle) : (middle + 1, end);
        }
        return (_parts[part], part == 0 ? output : output - _ends[part - 1]);
    }
}

/// <summary>Reads norms and biases, which files store as plain floating-point numbers, as float32.</summary>
internal static class VectorReader
{
    /// <summary>All numbers of a tensor of any shape, in the file's order.</summary>
    /// <exception cref="ModelLoadException">The file stores it quantised.</exception>
    public static float[] Read(ModelCheckpoint checkpoint, TensorInfo tensor)
    {
        if (tensor.Type.BlockElements() != 1)
            throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.FileName}': expected numbers of F32, F16 or BF16, found {tensor.Type}.");
        float[] values = new float[tensor.ByteCount / tensor.Type.BlockBytes()];
        Dequantize.Row(TensorRows.FormatOf(tensor), checkpoint.Bytes(tensor), values);
        return values;
    }

    /// <summary>Elements [first, first + count) in plain order.</summary>
    /// <exception cref="ModelLoadException">The file stores the vector quantised.</exception>
    public static float[] Read(ModelCheckpoint checkpoint, TensorInfo tensor, int first, int count, int headDim)
    {
        if (!tensor.Type.IsPlainFloat())
            throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.FileName}': expected a vector of F32, F16 or BF16, found {tensor.Type}.");
        float[] inFile = new float[tensor.Shape[0]], values = new float[count];
        Dequantize.Row(TensorRows.FormatOf(tensor), checkpoint.Bytes(tensor), inFile);
        for (int i = 0; i < count; i++)
            values[i] = inFile[TensorRows.FileRow(tensor.RowOrder, first + i, headDim, inFile.Length)];
        return values;
    }
}
