using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>A CUevent of this process.</summary>
internal sealed class EventHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.DestroyEvent(handle);
}
