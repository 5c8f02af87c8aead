using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

/// <summary>A CUgraphExec: a graph that is ready to run.</summary>
internal sealed class GraphHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.DestroyGraphExec(handle);
}
