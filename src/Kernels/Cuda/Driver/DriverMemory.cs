using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>How a block of the driver's is given back.</summary>
internal enum DriverMemoryKind
{
    /// <summary>Device memory of this process.</summary>
    Device,

    /// <summary>Page-locked host memory.</summary>
    Mapped,

    /// <summary>Device memory of another process.</summary>
    Opened,
}

/// <summary>A block that the driver gave out in a context, which outlives it.</summary>
internal sealed class DriverMemory(nint context, DriverMemoryKind kind) : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Its first byte: for the device, or for the host where it is mapped memory.</summary>
    public nint Address => handle;

    /// <summary>The driver has given it out.</summary>
    public void Adopt(nint address) => SetHandle(address);

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.Free(context, kind, handle);
}
