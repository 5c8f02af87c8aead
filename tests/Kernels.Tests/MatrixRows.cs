using System.Runtime.InteropServices;

namespace TpServe.Kernels.Tests;

/// <summary>A weight matrix in memory, as bytes of a file.</summary>
public sealed class MatrixRows(WeightFormat format, int outputs, int columns, byte[] bytes) : WeightRows
{
    /// <summary>A float32 matrix.</summary>
    public MatrixRows(float[] values, int outputs, int columns)
        : this(WeightFormat.F32, outputs, columns, MemoryMarshal.AsBytes(values.AsSpan()).ToArray())
    {
    }

    /// <inheritdoc/>
    public override WeightFormat Format => format;

    /// <inheritdoc/>
    public override int Outputs => outputs;

    /// <inheritdoc/>
    public override int FileColumns => columns;

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Row(int output)
    {
        int rowBytes = (int)format.RowBytes(columns);
        return bytes.AsSpan(output * rowBytes, rowBytes);
    }
}
