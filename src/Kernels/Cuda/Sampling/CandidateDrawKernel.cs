using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using TpServe.Kernels.Cuda.Ops;
using Keys = ILGPU.ArrayView<ulong>;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>Draws the rows whose top-k is 1..64 from their candidates; leaves others as they are.</summary>
/// <remarks>
/// Shapes   as <see cref="IRowSampler.Draw"/> states them; values and ids strided as they like.
/// Launch   a group a row. It selects the k best and orders them; then one thread adds at most 64 weights.
/// Numerics see <see cref="IRowSampler"/>.
/// Cost     reads n candidates a few times; a few microseconds, which are latencies.
/// Oracle   the reference backend's sampler.
/// </remarks>
internal sealed class CandidateDrawKernel(CudaQueue queue)
{
    private const int Limit = IRowSampler.MostCandidates;

    private readonly int _threads = queue.IsEmulated ? 32 : 128;

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<int>, int, int, int> _draw =
        queue.Load<ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<int>, int, int, int>(DrawKernel);

    /// <summary>Draws.</summary>
    public void Run(Tensor values, Tensor ids, Tensor parameters, Tensor chosen) => _draw(
        (chosen.Rows, _threads), values.View<float>(), ids.View<int>(), parameters.View<int>(), chosen.View<int>(), values.Columns, values.RowStride, ids.RowStride);

    [DeviceKernel]
    private static void DrawKernel(
        ArrayView<float> values, ArrayView<int> ids, ArrayView<int> parameters, ArrayView<int> chosen, int count, int strideValues, int strideIds)
    {
        int row = Grid.IdxX;
        DrawParameters own = SamplerWords.Parameters(parameters, row);
        if (!DrawParameters.IsOfCandidates(own))
            return;
        Keys best = SharedMemory.Allocate<ulong>(Limit), ordered = SharedMemory.Allocate<ulong>(Limit), weights = SharedMemory.Allocate<ulong>(Limit);

        // 1. The k best, then in order; absent ones are zeros at the end.
        KeySelection.Best(new ListedKeys(values, (long)row * strideValues, ids, (long)row * strideIds), count, own.TopK, best);
        for (int i = Group.IdxX; i < own.TopK; i += Group.DimX)
        {
            ulong key = best[i];
            int rank = 0;
            for (int other = 0; other < own.TopK; other++)
                rank += best[other] > key || (best[other] == key && other < i) ? 1 : 0;
            ordered[rank] = key;
        }
        Group.Barrier();

        // 2. Their weights.
        float first = ordered[0] == 0 ? float.NegativeInfinity : RowKeys.Value(ordered[0]);
        FixedWeights weigh = new(own.Temperature, DeviceMath.Divide(first, own.Temperature));
        for (int i = Group.IdxX; i < own.TopK; i += Group.DimX)
            weights[i] = ordered[i] == 0 ? 0 : weigh.Of(ordered[i]);
        Group.Barrier();

        // 3. The draw.
        if (Group.IsFirstThread)
            chosen[row] = FixedWeights.IsFinite(first) ? RowKeys.Index(ordered[Place(weights, own)]) : -1;
    }

    /// <summary>Which of the k entries is drawn.</summary>
    private static int Place(Keys weights, DrawParameters own)
    {
        ulong whole = 0;
        for (int i = 0; i < own.TopK; i++)
            whole += weights[i];
        ulong limit = DeviceMath.MultiplyHigh(DrawParameters.Join(own.DropsLow, own.DropsHigh), whole), dropped = 0;
        int kept = own.TopK;
        while (kept > 1 && dropped + weights[kept - 1] <= limit)
            dropped += weights[--kept];

        ulong least = FixedWeights.Of(own.MinP), left = 0, sum = 0;
        for (int i = 0; i < kept; i++)
            left += weights[i] >= least ? weights[i] : 0;
        ulong target = DeviceMath.MultiplyHigh(DrawParameters.Join(own.UniformLow, own.UniformHigh), left);
        for (int i = 0; i < kept; i++)
        {
            sum += weights[i] >= least ? weights[i] : 0;
            if (sum > target)
                return i;
        }
        return 0; // nothing weighs anything
    }
}
