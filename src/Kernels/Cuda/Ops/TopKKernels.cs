#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class TopKKernels(CudaQueue queue)
{
    public void Run(Tensor x, int k, int firstId, Tensor values, Tensor ids) => throw new InvalidOperationException("not written yet");
}
