using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

/// <summary>Copies between host and device on the backend's stream.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class HostTransfers(CudaQueue queue) : IDisposable
{
    private readonly List<PageLockScope<byte>> _pinned = [];

    /// <summary>Page-locked host memory; on the emulated device ordinary memory. Freed with the backend.</summary>
    public unsafe HostBuffer AllocatePinned(long bytes)
    {
        HostBuffer buffer = new(bytes);
        if (!queue.IsEmulated)
            _pinned.Add(queue.Accelerator.CreatePageLockFromPinned<byte>((nint)buffer.Pointer, Math.Max(bytes, 1)));
        return buffer;
    }

    /// <summary>Copies the bytes over a contiguous tensor; they may be reused on return.</summary>
    public unsafe void Upload(ReadOnlySpan<byte> source, Tensor destination)
    {
        CheckExtent(destination, source.Length);
        if (source.IsEmpty)
            return;
        fixed (byte* bytes = source)
            DeviceViews.Memory(destination).View.SubView(destination.OffsetBytes, source.Length).CopyFromCPU(queue.Stream, new ReadOnlySpan<byte>(bytes, source.Length));
    }

    /// <summary>Waits for everything enqueued, then copies a contiguous tensor to the host.</summary>
    public void Download(Tensor source, Span<byte> destination)
    {
        CheckExtent(source, destination.Length);
        if (!destination.IsEmpty)
            DeviceViews.Memory(source).View.SubView(source.OffsetBytes, destination.Length).CopyToCPU(queue.Stream, destination);
        queue.Synchronize();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PageLockScope<byte> scope in _pinned)
            scope.Dispose();
        _pinned.Clear();
    }

    private static void CheckExtent(Tensor tensor, long hostBytes)
    {
        Require.Contiguous(tensor);
        long bytes = (long)tensor.Rows * tensor.Columns * tensor.Type.SizeBytes();
        Require.That(bytes == hostBytes, $"{hostBytes} bytes on the host are not {tensor}.");
    }
}
