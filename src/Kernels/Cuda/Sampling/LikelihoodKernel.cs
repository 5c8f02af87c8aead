using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Ops;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>Rank and logit of a row's choice, and the row's largest logit and sum of exponentials.</summary>
/// <remarks>
/// Shapes   as <see cref="IRowSampler.Likelihoods"/> states them; logits strided as they like.
/// Launch   a group a row; rows that do not ask, or have no choice, end at once.
/// Numerics the sum as <see cref="FixedWeights"/> has it, at temperature 1: within 1e-6 of the logarithm.
/// Cost     reads the logits twice, by one multiprocessor a row.
/// Oracle   the reference backend's sampler.
/// </remarks>
internal sealed class LikelihoodKernel(CudaQueue queue)
{
    private readonly int _threads = queue.IsEmulated ? 32 : 512;

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<int>, int, long> _find =
        queue.Load<ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<int>, int, long>(FindKernel);

    /// <summary>Finds them for every row that asks.</summary>
    public void Run(Tensor logits, Tensor parameters, Tensor chosen, Tensor found) => _find(
        (chosen.Rows, _threads), logits.View<float>(), parameters.View<int>(), chosen.View<int>(), found.View<int>(), logits.Columns, logits.RowStride);

    [DeviceKernel]
    private static void FindKernel(
        ArrayView<float> logits, ArrayView<int> parameters, ArrayView<int> chosen, ArrayView<int> found, int columns, long strideX)
    {
        int row = Grid.IdxX, token = chosen[row];
        if (SamplerWords.Parameters(parameters, row).Reports == 0 || token < 0)
            return;
        RowKeys source = new(logits, row * strideX, 0);
        ulong own = source.Key(token), before = 0, best = 0;
        for (int i = Group.IdxX; i < columns; i += Group.DimX)
        {
            ulong key = source.Key(i);
            best = key > best ? key : best;
            before += key > own ? 1UL : 0UL;
        }
        before = GroupSum.Of(before);
        float largest = RowKeys.Value(GroupSum.Largest(best));

        FixedWeights weigh = new(1f, largest);
        ulong sum = 0;
        for (int i = Group.IdxX; i < columns; i += Group.DimX)
            sum += weigh.Of(source.Key(i));
        sum = GroupSum.Of(sum);
        if (Group.IsFirstThread)
            SamplerWords.Write(found, row, new DrawnLikelihood
            {
                Rank = 1 + (int)before,
                Logit = logits[row * strideX + token],
                Largest = largest,
                SumLow = (uint)sum,
                SumHigh = (uint)(sum >> 32),
            });
    }
}
