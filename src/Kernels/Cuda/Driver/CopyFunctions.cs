using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

// Copies on a stream, and events that tell when they are done. A CUdeviceptr is 64 bits wide, a CUstream a pointer, sizes are size_t.
internal static partial class CudaDriver
{
    private const uint BlockingSync = 1;
    private const uint DisableTiming = 2;

    /// <summary>Enqueues a copy of page-locked host memory to the device; the memory is read until the copy has run.</summary>
    internal static void CopyToDevice(nint target, nint source, long bytes, nint stream) =>
        Check(cuMemcpyHtoDAsync_v2(target, source, (nuint)bytes, stream), nameof(cuMemcpyHtoDAsync_v2));

    /// <summary>Enqueues a copy of device memory to page-locked host memory; it holds the bytes once the copy has run.</summary>
    internal static void CopyToHost(nint target, nint source, long bytes, nint stream) =>
        Check(cuMemcpyDtoHAsync_v2(target, source, (nuint)bytes, stream), nameof(cuMemcpyDtoHAsync_v2));

    /// <summary>An event without a time.</summary>
    /// <param name="sleeping">Whoever waits for it sleeps, which costs some tens of µs; else it spins as the context has it.</param>
    internal static EventHandle CreateEvent(bool sleeping)
    {
        Check(cuEventCreate(out EventHandle handle, DisableTiming | (sleeping ? BlockingSync : 0)), nameof(cuEventCreate));
        return handle;
    }

    /// <summary>The event happens when everything enqueued so far has run.</summary>
    internal static void Record(EventHandle handle, nint stream) => Check(cuEventRecord(handle, stream), nameof(cuEventRecord));

    /// <summary>Waits until the event last recorded has happened; returns at once where none was recorded.</summary>
    internal static void Wait(EventHandle handle) => Check(cuEventSynchronize(handle), nameof(cuEventSynchronize));

    /// <summary>True where the driver took the handle back.</summary>
    internal static bool DestroyEvent(nint handle) => cuEventDestroy_v2(handle) == Success;

    [LibraryImport(Library)]
    private static partial int cuMemcpyHtoDAsync_v2(nint target, nint source, nuint bytes, nint stream);

    [LibraryImport(Library)]
    private static partial int cuMemcpyDtoHAsync_v2(nint target, nint source, nuint bytes, nint stream);

    [LibraryImport(Library)]
    private static partial int cuEventCreate(out EventHandle handle, uint flags);

    [LibraryImport(Library)]
    private static partial int cuEventRecord(EventHandle handle, nint stream);

    [LibraryImport(Library)]
    private static partial int cuEventSynchronize(EventHandle handle);

    [LibraryImport(Library)]
    private static partial int cuEventDestroy_v2(nint handle);
}

/// <summary>A CUevent of this process.</summary>
internal sealed class EventHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.DestroyEvent(handle);
}
