using System.Runtime.InteropServices;

namespace TpServe.Kernels.Reference;

/// <summary>Upload and download for backends whose device memory is the host's.</summary>
internal static unsafe class HostTransfer
{
    /// <summary>Copies the span over the tensor's elements.</summary>
    public static void Upload<T>(ReadOnlySpan<T> source, Tensor destination) where T : unmanaged =>
        MemoryMarshal.AsBytes(source).CopyTo(Elements(destination, (long)source.Length * sizeof(T)));

    /// <summary>Copies the tensor's elements over the span.</summary>
    public static void Download<T>(Tensor source, Span<T> destination) where T : unmanaged =>
        Elements(source, (long)destination.Length * sizeof(T)).CopyTo(MemoryMarshal.AsBytes(destination));

    private static Span<byte> Elements(Tensor tensor, long hostBytes)
    {
        Require.Contiguous(tensor);
        long bytes = (long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes();
        Require.That(bytes == hostBytes, $"{hostBytes} bytes on the host are not {tensor}.");
        return new Span<byte>(tensor.HostRow<byte>(0), checked((int)bytes));
    }
}
