using ILGPU;
using ILGPU.Runtime;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>adjusted = logits with each row's edits: penalties, bias, ids allowed or excluded.</summary>
/// <remarks>
/// Shapes   logits, adjusted [m, v], strided as they like; parameters and edits as <see cref="IRowSampler"/> states them.
/// Launch   a group for each 4096 logits of a row; it takes the edits that fall among them.
/// Numerics each operation rounded to float32, in the order that <see cref="LogitEdit"/> states.
/// Cost     reads and writes the logits once; each group reads all edits of its row, from the cache.
/// Oracle   the reference backend's sampler.
/// </remarks>
internal sealed class LogitEditKernel(CudaQueue queue)
{
    private const int SegmentColumns = 4096;

    private readonly int _threads = queue.IsEmulated ? 32 : 256;

    private readonly Action<KernelConfig, ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<float>, int, int, long, long> _adjust =
        queue.Load<ArrayView<float>, ArrayView<int>, ArrayView<int>, ArrayView<float>, int, int, long, long>(AdjustKernel);

    /// <summary>Adjusts every row.</summary>
    public void Run(Tensor logits, Tensor edits, Tensor parameters, Tensor adjusted)
    {
        int segments = (logits.Columns + SegmentColumns - 1) / SegmentColumns;
        _adjust(
            (logits.Rows * segments, _threads), logits.View<float>(), edits.View<int>(), parameters.View<int>(), adjusted.View<float>(),
            logits.Columns, segments, logits.RowStride, adjusted.RowStride);
    }

    [DeviceKernel]
    private static void AdjustKernel(
        ArrayView<float> logits, ArrayView<int> edits, ArrayView<int> parameters, ArrayView<float> adjusted, int columns, int segments, long strideX, long strideY)
    {
        int row = Grid.IdxX / segments, first = Grid.IdxX % segments * SegmentColumns, end = IntrinsicMath.Min(first + SegmentColumns, columns);
        DrawParameters own = SamplerWords.Parameters(parameters, row);
        for (int i = first + Group.IdxX; i < end; i += Group.DimX)
            adjusted[row * strideY + i] = own.Restricts != 0 ? float.NegativeInfinity : logits[row * strideX + i];
        Group.Barrier(); // an edited logit is written again, by another thread
        for (int i = Group.IdxX; i < own.Edits; i += Group.DimX)
        {
            LogitEdit edit = SamplerWords.Edit(edits, own.FirstEdit + i);
            if (edit.TokenId >= first && edit.TokenId < end)
                adjusted[row * strideY + edit.TokenId] = Edited(logits[row * strideX + edit.TokenId], edit, own.RepetitionPenalty);
        }
    }

    private static float Edited(float logit, LogitEdit edit, float repetition)
    {
        if ((edit.Kind & LogitEdit.Repeats) != 0)
            logit = logit < 0f ? DeviceMath.Multiply(logit, repetition) : DeviceMath.Divide(logit, repetition);
        logit = DeviceMath.Add(DeviceMath.Add(logit, -edit.Subtract), edit.Add);
        return (edit.Kind & LogitEdit.Excludes) != 0 ? float.NegativeInfinity : logit;
    }
}
