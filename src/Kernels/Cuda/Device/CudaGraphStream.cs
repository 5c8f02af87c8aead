using ILGPU.Runtime.Cuda;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>A recording that can be run any number of times. Disposing one that still runs is allowed.</summary>
internal interface IStepGraph : IDisposable
{
    /// <summary>Enqueues a run of it.</summary>
    void Launch();
}

/// <summary>A stream whose work can be recorded instead of run.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal interface IGraphStream
{
    /// <summary>From here on, what is enqueued is recorded.</summary>
    void Begin();

    /// <summary>Ends the recording; nothing of it has run.</summary>
    /// <exception cref="Exception">Something in it cannot be recorded. <see cref="Abandon"/> follows.</exception>
    IStepGraph End();

    /// <summary>Ends a recording that failed and drops it. Never throws for what went wrong in the recording.</summary>
    void Abandon();
}

/// <summary>The backend's stream on a GPU, recorded as CUDA graphs.</summary>
/// <remarks>Source   CUDA Driver API: stream capture, graph management.</remarks>
internal sealed class CudaGraphStream(CudaQueue queue) : IGraphStream
{
    private readonly nint _stream = ((CudaStream)queue.Stream).StreamPtr;

    /// <inheritdoc/>
    public void Begin()
    {
        queue.Accelerator.Bind();
        CudaDriver.BeginCapture(_stream);
    }

    /// <inheritdoc/>
    public IStepGraph End() => new Graph(CudaDriver.EndCapture(_stream), queue, _stream);

    /// <inheritdoc/>
    public void Abandon() => CudaDriver.AbandonCapture(_stream);

    private sealed class Graph(GraphHandle handle, CudaQueue queue, nint stream) : IStepGraph
    {
        public void Launch()
        {
            queue.Accelerator.Bind();
            CudaDriver.Launch(handle, stream);
        }

        public void Dispose() => handle.Dispose();
    }
}
