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
public sealed class DriverMemory : SafeHandle
{
    private readonly nint _context;
    private readonly DriverMemoryKind _kind;

    /// <summary>A block that the driver is yet to give out.</summary>
    internal DriverMemory(nint context, DriverMemoryKind kind) : base(0, ownsHandle: true)
    {
        _context = context;
        _kind = kind;
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>Its first byte: for the device, or for the host where it is mapped memory.</summary>
    public nint Address => handle;

    /// <summary>The driver has given it out.</summary>
    internal void Adopt(nint address) => SetHandle(address);

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.Free(_context, _kind, handle);
}
