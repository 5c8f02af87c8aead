using NUnit.Framework;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Tests;

/// <summary>Tensors on host memory for tests: surrounded by guard cells, filled from arrays, freed together.</summary>
/// <remarks>Guards   every byte before, behind and between the rows holds a pattern; <see cref="CheckGuards"/> fails where one changed.</remarks>
public sealed unsafe class HostTensors : IDisposable
{
    private const byte Guard = 0xA5;
    private const int GuardBytes = 128;
    private readonly List<(HostBuffer Buffer, Tensor Tensor)> _all = [];

    /// <summary>An undefined tensor; its rows lie <paramref name="gap"/> elements apart.</summary>
    public Tensor Empty(int rows, int columns, ElementType type = ElementType.Float32, int gap = 0)
    {
        int stride = columns + gap;
        HostBuffer buffer = new(2 * GuardBytes + (long)Math.Max(rows, 1) * stride * type.SizeBytes());
        new Span<byte>(buffer.Pointer, (int)buffer.Bytes).Fill(Guard);
        Tensor tensor = new(buffer, GuardBytes, rows, columns, stride, type);
        _all.Add((buffer, tensor));
        return tensor;
    }

    /// <summary>A float32 tensor of the values, row by row.</summary>
    public Tensor Of(float[] values, int rows, int columns, int gap = 0)
    {
        Tensor tensor = Empty(rows, columns, ElementType.Float32, gap);
        for (int row = 0; row < rows; row++)
            values.AsSpan(row * columns, columns).CopyTo(tensor.HostSpan<float>(row));
        return tensor;
    }

    /// <summary>A float16, bfloat16 or float32 tensor of the values, rounded to nearest even.</summary>
    public Tensor Of(float[] values, int rows, int columns, ElementType type)
    {
        Tensor tensor = Empty(rows, columns, type);
        for (int row = 0; row < rows; row++)
        {
            for (int i = 0; i < columns; i++)
            {
                float value = values[row * columns + i];
                switch (type)
                {
                    case ElementType.Float32: tensor.HostSpan<float>(row)[i] = value; break;
                    case ElementType.Float16: tensor.HostSpan<Half>(row)[i] = (Half)value; break;
                    case ElementType.BFloat16: tensor.HostSpan<ushort>(row)[i] = FloatValues.ToBFloat16(value); break;
                    default: throw new ArgumentOutOfRangeException(nameof(type));
                }
            }
        }
        return tensor;
    }

    /// <summary>One column of integers.</summary>
    public Tensor Of(params int[] values)
    {
        Tensor tensor = Empty(values.Length, 1, ElementType.Int32);
        for (int row = 0; row < values.Length; row++)
            tensor.HostSpan<int>(row)[0] = values[row];
        return tensor;
    }

    /// <summary>The values of a float32 tensor, row by row.</summary>
    public static float[] Values(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        for (int row = 0; row < tensor.Rows; row++)
            tensor.HostSpan<float>(row).CopyTo(values.AsSpan(row * tensor.Columns));
        return values;
    }

    /// <summary>The values of an Int32 tensor, row by row.</summary>
    public static int[] Integers(Tensor tensor)
    {
        int[] values = new int[tensor.Rows * tensor.Columns];
        for (int row = 0; row < tensor.Rows; row++)
            tensor.HostSpan<int>(row).CopyTo(values.AsSpan(row * tensor.Columns));
        return values;
    }

    /// <summary>Fails where any operation wrote outside a tensor's elements.</summary>
    public void CheckGuards()
    {
        foreach ((HostBuffer buffer, Tensor tensor) in _all)
        {
            int size = tensor.Type.SizeBytes(), stride = tensor.RowStride * size, width = tensor.Columns * size;
            ReadOnlySpan<byte> bytes = new(buffer.Pointer, (int)buffer.Bytes);
            int row = 0, guardStart = 0;
            for (; row < tensor.Rows; row++)
            {
                CheckGuard(bytes, guardStart, GuardBytes + row * stride, tensor);
                guardStart = GuardBytes + row * stride + width;
            }
            CheckGuard(bytes, guardStart, bytes.Length, tensor);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((HostBuffer buffer, _) in _all)
            buffer.Dispose();
        _all.Clear();
    }

    private static void CheckGuard(ReadOnlySpan<byte> bytes, int start, int end, Tensor tensor)
    {
        int stray = bytes[start..end].IndexOfAnyExcept(Guard);
        if (stray >= 0)
            Assert.Fail($"A write at byte {start + stray - GuardBytes} is outside {tensor}, stride {tensor.RowStride}.");
    }
}
