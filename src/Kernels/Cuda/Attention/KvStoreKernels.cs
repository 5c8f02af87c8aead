#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class KvStoreKernels(CudaQueue queue)
{
    public void Store(Tensor k, Tensor v, Tensor slots, KvLayer cache) => throw new InvalidOperationException("not written yet");
    public void RopeStore(Tensor q, Tensor k, Tensor v, Tensor positions, Tensor table, int headDim, Tensor slots, KvLayer cache) => throw new InvalidOperationException("not written yet");
}
