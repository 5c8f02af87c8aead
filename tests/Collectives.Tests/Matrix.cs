using TpServe.Kernels;

namespace TpServe.Collectives.Tests;

/// <summary>A dense matrix with the tensor that looks into it.</summary>
internal sealed class Matrix : IDisposable
{
    private readonly HostBuffer _buffer;

    public Matrix(int rows, int columns, ElementType type = ElementType.Float32)
    {
        _buffer = new HostBuffer((long)rows * columns * sizeof(float));
        View = new Tensor(_buffer, 0, rows, columns, columns, type);
    }

    public Matrix(int rows, int columns, ReadOnlySpan<float> values)
        : this(rows, columns) => values.CopyTo(Floats);

    public Tensor View { get; }

    public unsafe Span<float> Floats => new(_buffer.Pointer, View.Rows * View.Columns);

    public unsafe Span<int> Ints => new(_buffer.Pointer, View.Rows * View.Columns);

    /// <summary>The bits, for comparisons in which −0 and +0 differ.</summary>
    public int[] Bits => Ints.ToArray();

    public void Dispose() => _buffer.Dispose();
}
