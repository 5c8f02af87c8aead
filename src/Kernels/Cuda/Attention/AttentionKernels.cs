#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class AttentionKernels(CudaQueue queue, ScratchArena scratch, CudaActivations activations) : IDisposable
{
    public void Attention(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y) => throw new InvalidOperationException("not written yet");
    public void Dispose()
    {
    }
}
