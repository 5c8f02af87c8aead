#pragma warning disable CS9113, CA1822
namespace TpServe.Kernels.Cuda;

internal sealed class LinearKernels(CudaQueue queue, ScratchArena scratch, HostTransfers transfers, CudaActivations activations) : IDisposable
{
    public PackedWeight Pack(WeightRows rows, InputLeaves leaves) => throw new InvalidOperationException("not written yet");
    public void Linear(Tensor x, ReadOnlySpan<PackedWeight> parts, Tensor y) => throw new InvalidOperationException("not written yet");
    public void LinearPieces(Tensor x, PackedWeight weight, Tensor pieces) => throw new InvalidOperationException("not written yet");
    public void Embed(Tensor tokenIds, PackedWeight table, int firstRow, float scale, Tensor y) => throw new InvalidOperationException("not written yet");
    public void Dispose()
    {
    }
}
