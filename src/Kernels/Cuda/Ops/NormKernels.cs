#pragma warning disable CS9113, CA1822
using ILGPU;
using ILGPU.Runtime;

namespace TpServe.Kernels.Cuda;

internal sealed class NormKernels(CudaQueue queue)
{
    private const int GroupSize = 128;
    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<float>, ArrayView<float>, int, int, int, int, float> _rmsNorm =
        queue.Load<ArrayView<float>, ArrayView<float>, ArrayView<float>, int, int, int, int, float>(RmsNormKernel);

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor y)
    {
        int groups = x.Columns / weight.Columns;
        _rmsNorm((x.Rows * groups, GroupSize), x.View<float>(), weight.View<float>(), y.View<float>(), groups, weight.Columns, x.RowStride, y.RowStride, epsilon);
    }
    public void AddNorm(Tensor x, Tensor y, float scale, Tensor weight, float epsilon, Tensor normed) => throw new InvalidOperationException("not written yet");
    public void SumSquares(Tensor x, int dim, Tensor sums) => throw new InvalidOperationException("not written yet");
    public void NormBySums(Tensor x, Tensor sums, int totalColumns, Tensor weight, float epsilon) => throw new InvalidOperationException("not written yet");

    [DeviceKernel]
    private static void RmsNormKernel(ArrayView<float> x, ArrayView<float> w, ArrayView<float> y, int groups, int dim, int strideX, int strideY, float epsilon)
    {
        int row = Grid.IdxX / groups, column = Grid.IdxX % groups * dim;
        int from = row * strideX + column, to = row * strideY + column;

        // 1. Each thread squares its stripe of the group.
        float sum = 0f;
        for (int i = Group.IdxX; i < dim; i += GroupSize)
            sum = DeviceMath.Fma(x[from + i], x[from + i], sum);

        // 2. Every thread needs the total.
        sum = GroupSum.Of(sum);

        // 3. Scale.
        float scale = DeviceMath.Divide(1f, DeviceMath.Sqrt(DeviceMath.Divide(sum, dim) + epsilon));
        for (int i = Group.IdxX; i < dim; i += GroupSize)
            y[to + i] = x[from + i] * scale * w[i];
    }
}
