using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>Where the tensor-core kernel leaves O^T: a lane has elements g and g + 8 (g = lane / 4) of its warp's 16, of columns 2t and 2t + 1 (t = lane % 4).</summary>
internal static class TensorResults
{
    /// <summary>Leaves a chunk's partial results of one tile, whose columns begin at <paramref name="firstColumn"/>.</summary>
    public static void Leave(
        ArrayView<float> partials, TensorPass pass, int chunk, int firstColumn, Float4 weighted, ColumnPair part, int warp, int lane, AttentionNumbers numbers)
    {
        int even = firstColumn + (lane & 3) * 2;
        Leave(partials, pass, chunk, even, weighted.A, weighted.C, part.EvenMax, part.EvenSum, warp, lane, numbers);
        Leave(partials, pass, chunk, even + 1, weighted.B, weighted.D, part.OddMax, part.OddSum, warp, lane, numbers);
    }

    /// <summary>Writes the weighted means of one tile.</summary>
    public static void Write(ArrayView<float> y, TensorPass pass, int firstColumn, Float4 merged, ColumnPair state, int warp, int lane, AttentionNumbers numbers)
    {
        int even = firstColumn + (lane & 3) * 2;
        Write(y, pass, even, merged.A, merged.C, state.EvenSum, warp, lane, numbers);
        Write(y, pass, even + 1, merged.B, merged.D, state.OddSum, warp, lane, numbers);
    }

    private static void Leave(
        ArrayView<float> partials, TensorPass pass, int chunk, int column, float low, float high, float max, float sum, int warp, int lane, AttentionNumbers numbers)
    {
        if (!TensorPass.Has(pass, column))
            return;
        int global = (pass.FirstRow + column / pass.Heads) * numbers.Heads + pass.FirstHead + column % pass.Heads;
        long partial = AttentionNumbers.Partial(numbers, global, chunk);
        int element = 16 * warp + (lane >> 2);
        partials[partial + 2 + element] = low;
        partials[partial + 2 + element + 8] = high;
        if (element == 0)
        {
            partials[partial] = max;
            partials[partial + 1] = sum;
        }
    }

    private static void Write(ArrayView<float> y, TensorPass pass, int column, float low, float high, float sum, int warp, int lane, AttentionNumbers numbers)
    {
        if (!TensorPass.Has(pass, column))
            return;
        int place = (pass.FirstRow + column / pass.Heads) * numbers.StrideY + (pass.FirstHead + column % pass.Heads) * numbers.HeadDim + 16 * warp + (lane >> 2);
        y[place] = SoftmaxMath.Mean(low, sum);
        y[place + 8] = SoftmaxMath.Mean(high, sum);
    }
}
