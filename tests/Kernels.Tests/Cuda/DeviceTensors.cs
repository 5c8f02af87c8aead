using System.Runtime.InteropServices;
using NUnit.Framework;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Tensors on a device for tests: surrounded by guard cells, filled from arrays, freed together.</summary>
/// <remarks>Guards   every byte before, behind and between the rows holds a pattern; <see cref="CheckGuards"/> fails where one changed.</remarks>
public sealed class DeviceTensors(ITensorBackend backend) : IDisposable
{
    private const byte Guard = 0xA5;
    private const int GuardBytes = 256;
    private readonly List<(DeviceBuffer Buffer, Tensor Tensor)> _all = [];

    /// <summary>An undefined tensor; its rows lie <paramref name="gap"/> elements apart.</summary>
    public Tensor Empty(int rows, int columns, ElementType type = ElementType.Float32, int gap = 0) => Place(new byte[rows * columns * type.SizeBytes()], rows, columns, type, gap, Guard);

    /// <summary>A float32 tensor of the values, row by row.</summary>
    public Tensor Of(float[] values, int rows, int columns, int gap = 0) =>
        Place(MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), rows, columns, ElementType.Float32, gap, null);

    /// <summary>A tensor of any type from its bytes, row by row.</summary>
    public Tensor OfBytes(byte[] bytes, int rows, int columns, ElementType type, int gap = 0) => Place(bytes, rows, columns, type, gap, null);

    /// <summary>One column of integers.</summary>
    public Tensor Of(params int[] values) => Place(MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), values.Length, 1, ElementType.Int32, 0, null);

    /// <summary>A matrix of integers.</summary>
    public Tensor Of(int[] values, int rows, int columns) => Place(MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), rows, columns, ElementType.Int32, 0, null);

    /// <summary>The values of a float32 tensor, row by row.</summary>
    public float[] Values(Tensor tensor) => MemoryMarshal.Cast<byte, float>(Bytes(tensor)).ToArray();

    /// <summary>The values of an Int32 tensor, row by row.</summary>
    public int[] Integers(Tensor tensor) => MemoryMarshal.Cast<byte, int>(Bytes(tensor)).ToArray();

    /// <summary>The bits of a float32 tensor's values.</summary>
    public int[] Bits(Tensor tensor) => Integers(tensor);

    /// <summary>The bytes of a tensor's elements, row by row.</summary>
    public byte[] Bytes(Tensor tensor)
    {
        int size = tensor.Type.SizeBytes(), width = tensor.Columns * size, stride = tensor.RowStride * size;
        byte[] whole = Whole(tensor.Buffer), bytes = new byte[tensor.Rows * width];
        for (int row = 0; row < tensor.Rows; row++)
            whole.AsSpan((int)tensor.OffsetBytes + row * stride, width).CopyTo(bytes.AsSpan(row * width));
        return bytes;
    }

    /// <summary>Fails where any operation wrote outside a tensor's elements.</summary>
    public void CheckGuards()
    {
        foreach ((DeviceBuffer buffer, Tensor tensor) in _all)
        {
            int size = tensor.Type.SizeBytes(), width = tensor.Columns * size, stride = tensor.RowStride * size;
            byte[] bytes = Whole(buffer);
            for (int row = 0; row < tensor.Rows; row++)
                bytes.AsSpan(GuardBytes + row * stride, width).Fill(Guard);
            int stray = bytes.AsSpan().IndexOfAnyExcept(Guard);
            Assert.That(stray, Is.EqualTo(-1), $"a byte {stray - GuardBytes} from the start of {tensor} (stride {tensor.RowStride}) was written");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((DeviceBuffer buffer, _) in _all)
            buffer.Dispose();
        _all.Clear();
    }

    private Tensor Place(byte[] elements, int rows, int columns, ElementType type, int gap, byte? fill)
    {
        int size = type.SizeBytes(), stride = columns + gap, width = columns * size;
        byte[] bytes = new byte[2 * GuardBytes + Math.Max(rows, 1) * stride * size];
        bytes.AsSpan().Fill(Guard);
        if (fill is null)
            for (int row = 0; row < rows; row++)
                elements.AsSpan(row * width, width).CopyTo(bytes.AsSpan(GuardBytes + row * stride * size));
        DeviceBuffer buffer = backend.Allocate(bytes.Length);
        backend.Upload<byte>(bytes, Raw(buffer));
        Tensor tensor = new(buffer, GuardBytes, rows, columns, stride, type);
        _all.Add((buffer, tensor));
        return tensor;
    }

    private byte[] Whole(DeviceBuffer buffer)
    {
        byte[] bytes = new byte[buffer.Bytes];
        backend.Download<byte>(Raw(buffer), bytes);
        return bytes;
    }

    /// <summary>All bytes of a buffer, whose length is even, as one row.</summary>
    private static Tensor Raw(DeviceBuffer buffer) => new(buffer, 0, 1, (int)buffer.Bytes / 2, (int)buffer.Bytes / 2, ElementType.BFloat16);
}
