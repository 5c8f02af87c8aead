using ILGPU;

namespace TpServe.Kernels.Cuda;

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
}
