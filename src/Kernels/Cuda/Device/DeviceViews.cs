using ILGPU;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Tensors as kernels see them.</summary>
internal static class DeviceViews
{
    /// <summary>The elements from the tensor's first to its last, gaps between rows included.</summary>
    /// <exception cref="ArgumentException">The tensor lies on another device.</exception>
    public static ArrayView<T> View<T>(this Tensor tensor) where T : unmanaged
    {
        if (tensor.Rows == 0 || tensor.Columns == 0)
            return default;
        long elements = (long)tensor.RowStride * (tensor.Rows - 1) + tensor.Columns;
        return Memory(tensor).View.SubView(tensor.OffsetBytes, elements * tensor.Type.SizeBytes()).Cast<T>();
    }

    /// <summary>The memory of a tensor of this device.</summary>
    /// <exception cref="ArgumentException">The tensor lies on another device.</exception>
    public static DeviceMemory Memory(Tensor tensor) =>
        tensor.Buffer as DeviceMemory ?? throw new ArgumentException($"{tensor} lies on a {tensor.Buffer?.GetType().Name ?? "missing buffer"}, not on this device.");

    /// <summary>True where every row starts at a multiple of <paramref name="bytes"/> and holds whole units of so many bytes.</summary>
    public static bool IsAligned(Tensor tensor, int bytes)
    {
        int size = tensor.Type.SizeBytes();
        return (Memory(tensor).Address + tensor.OffsetBytes) % bytes == 0
            && (long)tensor.Columns * size % bytes == 0
            && (tensor.Rows <= 1 || (long)tensor.RowStride * size % bytes == 0);
    }
}
