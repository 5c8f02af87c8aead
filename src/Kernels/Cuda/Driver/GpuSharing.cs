using ILGPU.Runtime.Cuda;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>How a GPU's memory is shared: blocks that other processes open, memory that host and kernels share, and copies beside the backend's stream.</summary>
/// <remarks>
/// Threads  allocating from any; copies, and the wait for them, one at a time.
/// Errors   <see cref="CudaDriverException"/>; DllNotFoundException and EntryPointNotFoundException where the driver lacks what is called.
/// </remarks>
public sealed class GpuSharing : IDisposable
{
    private readonly nint _context;
    private readonly int _device;
    private nint _stream;

    private GpuSharing(nint context, int ordinal)
    {
        _context = context;
        _device = CudaDriver.Device(ordinal);
        DeviceUuid = CudaDriver.DeviceUuid(_device);
        _stream = CudaDriver.CreateStream(context);
    }

    /// <summary>"GPU-5c24…": the same in every process and container.</summary>
    public string DeviceUuid { get; }

    private nint Stream => _stream != 0 ? _stream : throw new ObjectDisposedException(nameof(GpuSharing));

    /// <summary>The backend's GPU, whose context outlives this; null where the device is emulated.</summary>
    public static GpuSharing? Of(CudaBackend ops)
    {
        ArgumentNullException.ThrowIfNull(ops);
        return ops.Queue.Accelerator is CudaAccelerator accelerator ? new GpuSharing(accelerator.NativePtr, accelerator.DeviceId) : null;
    }

    /// <summary>Whether kernels of this GPU can read the memory of another; null where this process does not see that one.</summary>
    public bool? CanRead(string uuid)
    {
        if (uuid == DeviceUuid)
            return true;
        for (int ordinal = 0; ordinal < CudaDriver.DeviceCount(); ordinal++)
            if (CudaDriver.DeviceUuid(CudaDriver.Device(ordinal)) == uuid)
                return CudaDriver.CanAccessPeer(_device, CudaDriver.Device(ordinal));
        return null;
    }

    /// <summary>Zeroed device memory that starts an allocation, as a name given to other processes has to.</summary>
    public DriverMemory AllocateDevice(long bytes) => CudaDriver.AllocateDevice(_context, bytes);

    /// <summary>Zeroed page-locked host memory that kernels can address.</summary>
    public DriverMemory AllocateMapped(int bytes) => CudaDriver.AllocateMapped(_context, bytes);

    /// <summary>Where kernels find <see cref="AllocateMapped"/>'s memory.</summary>
    public long AddressOnDevice(DriverMemory mapped)
    {
        ArgumentNullException.ThrowIfNull(mapped);
        return CudaDriver.DeviceAddress(_context, mapped);
    }

    /// <summary>What other processes open a device allocation by.</summary>
    public IpcMemoryName Export(DriverMemory memory)
    {
        ArgumentNullException.ThrowIfNull(memory);
        return CudaDriver.Export(_context, memory);
    }

    /// <summary>Another process's allocation, mapped here; access between the GPUs is enabled.</summary>
    public DriverMemory Open(IpcMemoryName name) => CudaDriver.OpenIpc(_context, name);

    /// <summary>Enqueues a copy of page-locked host memory to the device, behind no kernel of the backend's; the memory is read until <see cref="WaitForCopies"/>.</summary>
    public void CopyToDevice(long target, nint source, int bytes) =>
        CudaDriver.InContext(_context, () => CudaDriver.CopyToDevice((nint)target, source, bytes, Stream));

    /// <summary>Enqueues a copy of device memory to page-locked host memory, behind no kernel of the backend's; the bytes are there after <see cref="WaitForCopies"/>.</summary>
    public void CopyToHost(nint target, long source, int bytes) =>
        CudaDriver.InContext(_context, () => CudaDriver.CopyToHost(target, (nint)source, bytes, Stream));

    /// <summary>Waits until every copy has run.</summary>
    public void WaitForCopies() => CudaDriver.InContext(_context, () => CudaDriver.Synchronize(Stream));

    /// <summary>Gives the copies' stream back; memory is disposed by itself.</summary>
    public void Dispose()
    {
        if (_stream == 0)
            return;
        CudaDriver.DestroyStream(_context, _stream);
        _stream = 0;
    }
}
