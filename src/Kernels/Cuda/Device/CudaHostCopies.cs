using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Page-locked memory and asynchronous copies on a GPU's stream.</summary>
/// <remarks>
/// The driver is called directly: ILGPU's copies allocate a wrapper each, and its markers need profiling.
/// Threads   the rank's thread. ILGPU makes its context current where it is not.
/// </remarks>
internal sealed unsafe class CudaHostCopies(CudaQueue queue) : IHostCopies
{
    private readonly nint _stream = ((CudaStream)queue.Stream).StreamPtr;
    private readonly List<(PageLockScope<byte> Lock, HostBuffer Memory)> _locked = [];

    /// <inheritdoc/>
    public HostBuffer AllocateHost(long bytes)
    {
        HostBuffer memory = new(Math.Max(bytes, 1));
        // The page lock must go before the memory does, so the caller gets a window and this keeps the block.
        _locked.Add((queue.Accelerator.CreatePageLockFromPinned<byte>((nint)memory.Pointer, memory.Bytes), memory));
        return new HostBuffer(memory.Pointer, bytes);
    }

    /// <inheritdoc/>
    public void ToDevice(HostBuffer source, DeviceMemory target, long offset, long bytes)
    {
        queue.Accelerator.Bind();
        CudaDriver.CopyToDevice(target.Address + (nint)offset, (nint)source.Pointer, bytes, _stream);
    }

    /// <inheritdoc/>
    public void ToHost(DeviceMemory source, long offset, HostBuffer target, long bytes)
    {
        queue.Accelerator.Bind();
        CudaDriver.CopyToHost((nint)target.Pointer, source.Address + (nint)offset, bytes, _stream);
    }

    /// <inheritdoc/>
    public ICopyFence CreateFence(bool sleeping)
    {
        queue.Accelerator.Bind();
        return new Fence(CudaDriver.CreateEvent(sleeping), queue, _stream);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((PageLockScope<byte> pages, HostBuffer memory) in _locked)
        {
            pages.Dispose();
            memory.Dispose();
        }
        _locked.Clear();
    }

    private sealed class Fence(EventHandle handle, CudaQueue queue, nint stream) : ICopyFence
    {
        public void Set()
        {
            queue.Accelerator.Bind();
            CudaDriver.Record(handle, stream);
        }

        public void Wait()
        {
            queue.Accelerator.Bind();
            CudaDriver.Wait(handle);
        }

        public void Dispose() => handle.Dispose();
    }
}
