#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class ElementwiseKernels(CudaQueue queue)
{
    public void GatedActivation(Tensor x, Activation activation, Tensor y) => throw new InvalidOperationException("not written yet");
    public void AddScaled(Tensor x, Tensor y, float scale) => throw new InvalidOperationException("not written yet");
    public void AddRow(Tensor x, Tensor bias) => throw new InvalidOperationException("not written yet");
    public void Scale(Tensor x, float scale) => throw new InvalidOperationException("not written yet");
    public void Softcap(Tensor x, float cap) => throw new InvalidOperationException("not written yet");
}
