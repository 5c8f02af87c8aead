using ILGPU.Runtime.Cuda;
using TpServe.Kernels.Cuda.Driver;

namespace TpServe.Kernels.Cuda.Device;

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
