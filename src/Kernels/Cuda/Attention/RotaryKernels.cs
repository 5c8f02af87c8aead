#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class RotaryKernels(CudaQueue queue)
{
    public void Rope(Tensor x, Tensor positions, Tensor table, int headDim) => throw new InvalidOperationException("not written yet");
}
