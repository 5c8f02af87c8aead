using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Driver;

// Work of a stream recorded as a graph. CUgraph and CUgraphExec are pointers; the capture mode and status are enums of int size.
internal static partial class CudaDriver
{
    /// <summary>CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do cannot spoil the capture, and calls of this one that cannot be recorded fail.</summary>
    private const int CaptureThreadLocal = 1;

    private const int CaptureStatusNone = 0;

    /// <summary>From here on what is enqueued on the stream is recorded and does not run.</summary>
    internal static void BeginCapture(nint stream) => Check(cuStreamBeginCapture_v2(stream, CaptureThreadLocal), nameof(cuStreamBeginCapture_v2));

    /// <summary>Ends the capture and makes the graph ready to run.</summary>
    internal static GraphHandle EndCapture(nint stream)
    {
        Check(cuStreamEndCapture(stream, out nint graph), nameof(cuStreamEndCapture));
        try
        {
            Check(cuGraphInstantiateWithFlags(out GraphHandle handle, graph, 0), nameof(cuGraphInstantiateWithFlags));
            return handle;
        }
        finally
        {
            Destroy(graph);
        }
    }

    /// <summary>Ends the capture, whatever its state, and drops what it recorded. Does nothing where the stream is not captured.</summary>
    internal static void AbandonCapture(nint stream)
    {
        // An invalid capture ends with an error and no graph; a stream out of capture is all that is wanted.
        if (cuStreamIsCapturing(stream, out int status) == Success && status == CaptureStatusNone)
            return;
        if (cuStreamEndCapture(stream, out nint graph) == Success)
            Destroy(graph);
    }

    /// <summary>Enqueues a run of the whole graph.</summary>
    internal static void Launch(GraphHandle graph, nint stream) => Check(cuGraphLaunch(graph, stream), nameof(cuGraphLaunch));

    /// <summary>True where the driver took the executable graph back; one that is running is freed when it has run.</summary>
    internal static bool DestroyGraphExec(nint graph) => cuGraphExecDestroy(graph) == Success;

    private static void Destroy(nint graph)
    {
        if (graph != 0)
            Check(cuGraphDestroy(graph), nameof(cuGraphDestroy));
    }

    [LibraryImport(Library)]
    private static partial int cuStreamBeginCapture_v2(nint stream, int mode);

    [LibraryImport(Library)]
    private static partial int cuStreamEndCapture(nint stream, out nint graph);

    [LibraryImport(Library)]
    private static partial int cuStreamIsCapturing(nint stream, out int status);

    [LibraryImport(Library)]
    private static partial int cuGraphInstantiateWithFlags(out GraphHandle exec, nint graph, ulong flags);

    [LibraryImport(Library)]
    private static partial int cuGraphLaunch(GraphHandle exec, nint stream);

    [LibraryImport(Library)]
    private static partial int cuGraphExecDestroy(nint exec);

    [LibraryImport(Library)]
    private static partial int cuGraphDestroy(nint graph);
}

/// <summary>A CUgraphExec: a graph that is ready to run.</summary>
internal sealed class GraphHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => CudaDriver.DestroyGraphExec(handle);
}
