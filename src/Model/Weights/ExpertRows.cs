using System.Runtime.InteropServices;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;

namespace TpServe.Model.Weights;

/// <summary>This rank's rows of one expert's matrix, and zeros behind them up to where the next expert begins.</summary>
/// <remarks>A tensor holds one expert's matrix, [out, in], or all of them, [experts, out, in]; of fused ones gate and up below each other, or row by row in turn.</remarks>
/// <param name="checkpoint">The opened model.</param>
/// <param name="tensor">Where the expert is.</param>
/// <param name="place">Which rows of it.</param>
internal class ExpertRows(ModelCheckpoint checkpoint, TensorInfo tensor, ExpertPlace place) : TensorRows(checkpoint, tensor, 0, 0, 0)
{
    private readonly byte[] _zeros = new byte[FormatOf(tensor).RowBytes(tensor.Shape[^1])];
    private readonly AssembledRows? _assembled = tensor.Storage is { } storage ? new(checkpoint, tensor, storage, 0, checked((int)tensor.Shape.SkipLast(1).Aggregate(1L, (rows, extent) => rows * extent)), 0) : null;

    /// <inheritdoc/>
    public override int Outputs => ExpertStack.Stride(place.Rows);

    /// <inheritdoc/>
    public override int Rows => place.Rows;

    /// <inheritdoc/>
    public override int FirstRow => (place.Expert * place.RowsOfExpert) + place.First;

    /// <inheritdoc/>
    public override string Source => $"{Tensor.Name} {place.Matrix}";

    /// <summary>Which rows.</summary>
    protected ExpertPlace Place => place;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)Outputs, nameof(output));
        return output >= place.Rows ? _zeros : _assembled is null ? FileBytes(place.FileRow(output)) : _assembled.Row(place.FileRow(output));
    }

    /// <inheritdoc/>
    public override void Expect()
    {
        if (place.Step == 1)
            ExpectFile(place.FileRow(0), place.Rows);
    }

    /// <inheritdoc/>
    public override void Release(int first, int count)
    {
        int rows = Math.Min(first + count, place.Rows) - first;
        if (rows > 0 && place.Step == 1 && _assembled is null)
            ReleaseFile(place.FileRow(first), rows);
    }
}

/// <summary>The same of a tensor of floats that holds its matrices transposed, [experts, in, out], as gpt-oss's do.</summary>
/// <remarks>Threads   a row may be asked for on any; the first one turns the expert's matrix, and a few experts are kept, for panels are packed side by side.</remarks>
internal sealed class TransposedExpertRows(ModelCheckpoint checkpoint, TensorInfo tensor, ExpertPlace place, TransposedExperts turned) : ExpertRows(checkpoint, tensor, place)
{
    private readonly int _size = tensor.Type.BlockBytes();
    private readonly byte[] _zeros = new byte[tensor.Type.BlockBytes() * tensor.Shape[^2]];

    /// <inheritdoc/>
    public override int FileColumns => Tensor.Shape[^2];

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)Outputs, nameof(output));
        if (output >= Place.Rows)
            return _zeros;
        int bytes = FileColumns * _size;
        return turned.Of(Place.Expert, Turn).AsSpan(output * bytes, bytes);
    }

    /// <inheritdoc/>
    /// <remarks>Nothing: a page holds inputs of all outputs.</remarks>
    public override void Expect()
    {
    }

    /// <inheritdoc/>
    /// <remarks>Nothing, for the same reason.</remarks>
    public override void Release(int first, int count)
    {
    }

    private byte[] Turn()
    {
        byte[] rows = new byte[(long)Place.Rows * FileColumns * _size];
        if (_size == sizeof(ushort))
            Turn(MemoryMarshal.Cast<byte, ushort>(rows.AsSpan()));
        else
            Turn(MemoryMarshal.Cast<byte, uint>(rows.AsSpan()));
        return rows;
    }

    /// <summary>Some rows at a time, so that what is written stays in the cache.</summary>
    private void Turn<T>(Span<T> rows) where T : unmanaged
    {
        const int some = 32;
        int inputs = FileColumns, firstInput = Place.Expert * inputs, first = Place.FileRow(0) - (Place.Expert * Place.RowsOfExpert), step = Place.Step;
        for (int from = 0; from < Place.Rows; from += some)
        {
            int end = Math.Min(Place.Rows, from + some);
            for (int input = 0; input < inputs; input++)
            {
                ReadOnlySpan<T> column = MemoryMarshal.Cast<byte, T>(FileBytes(firstInput + input));
                for (int row = from; row < end; row++)
                    rows[(row * inputs) + input] = column[first + (row * step)];
            }
        }
    }
}

/// <summary>The last few experts whose matrices were turned.</summary>
internal sealed class TransposedExperts
{
    private const int Kept = 8;
    private readonly Lock _gate = new();
    private readonly (int Expert, byte[]? Rows)[] _experts = new (int, byte[]?)[Kept];
    private int _next;

    /// <summary>An expert's rows one after the other, turned where they are not kept.</summary>
    public byte[] Of(int expert, Func<byte[]> turn)
    {
        lock (_gate)
        {
            foreach ((int kept, byte[]? rows) in _experts)
                if (rows is not null && kept == expert)
                    return rows;
            byte[] turned = turn();
            _experts[_next] = (expert, turned);
            _next = (_next + 1) % Kept;
            return turned;
        }
    }
}

/// <summary>Rows of one expert's matrix in a tensor.</summary>
/// <param name="Matrix">Gate, up or down, where one tensor holds several.</param>
/// <param name="Expert">Which expert of the tensor; 0 where it holds one.</param>
/// <param name="RowsOfExpert">Rows of the tensor for each expert.</param>
/// <param name="Origin">The matrix's first row among them.</param>
/// <param name="Step">From one row of the matrix to the next one: 2 where gate and up take turns.</param>
/// <param name="First">First row wanted, in the matrix.</param>
/// <param name="Rows">How many.</param>
internal readonly record struct ExpertPlace(string Matrix, int Expert, int RowsOfExpert, int Origin, int Step, int First, int Rows)
{
    /// <summary>Where the tensor has one of them.</summary>
    public int FileRow(int row) => checked((Expert * RowsOfExpert) + Origin + ((First + row) * Step));
}

/// <summary>Rows of a matrix in float32, whatever the file has them in: a router's.</summary>
internal sealed class WidenedRows : TensorRows
{
    private readonly float[] _values;

    /// <summary>Decodes all rows; a vector is a matrix of one.</summary>
    public WidenedRows(ModelCheckpoint checkpoint, TensorInfo tensor)
        : base(checkpoint, tensor, 0, tensor.Shape.Count == 1 ? 1 : tensor.Shape[0], 0)
    {
        _values = new float[base.Rows * FileColumns];
        for (int row = 0; row < base.Rows; row++)
            Dequantize.Row(FormatOf(tensor), FileBytes(row), _values.AsSpan(row * FileColumns, FileColumns));
    }

    /// <inheritdoc/>
    public override WeightFormat Format => WeightFormat.F32;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output) => MemoryMarshal.AsBytes(_values.AsSpan(output * FileColumns, FileColumns));
}
