using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>The softmax of one tile of S^T: a lane has keys g and g + 8 (g = lane / 4) of columns 2t and 2t + 1 (t = lane % 4).</summary>
/// <remarks>Numerics see <see cref="TensorAttention"/> and <see cref="SoftmaxMath"/>; the same instructions for every tile, whoever its neighbours are.</remarks>
internal static class TensorSoftmax
{
    /// <summary>Two columns that have seen nothing.</summary>
    public static ColumnPair Nothing() => new() { EvenMax = float.NegativeInfinity, OddMax = float.NegativeInfinity };

    /// <summary>Scores of products; −∞ where the column does not see the position.</summary>
    /// <param name="dots">The products.</param>
    /// <param name="position">Position of the lane's first key.</param>
    /// <param name="column">The lane's even column.</param>
    /// <param name="isSeen">True where every column sees all 16 keys.</param>
    /// <param name="firsts">What columns see.</param>
    /// <param name="lasts">What columns see.</param>
    /// <param name="numbers">Factors.</param>
    public static Float4 Scores(Float4 dots, int position, int column, bool isSeen, ArrayView<int> firsts, ArrayView<int> lasts, AttentionNumbers numbers)
    {
        dots.A = SoftmaxMath.Score(dots.A, numbers.Factor, numbers.Cap);
        dots.B = SoftmaxMath.Score(dots.B, numbers.Factor, numbers.Cap);
        dots.C = SoftmaxMath.Score(dots.C, numbers.Factor, numbers.Cap);
        dots.D = SoftmaxMath.Score(dots.D, numbers.Factor, numbers.Cap);
        if (isSeen)
            return dots;
        int evenFirst = firsts[column], evenLast = lasts[column], oddFirst = firsts[column + 1], oddLast = lasts[column + 1];
        dots.A = position >= evenFirst && position <= evenLast ? dots.A : float.NegativeInfinity;
        dots.B = position >= oddFirst && position <= oddLast ? dots.B : float.NegativeInfinity;
        dots.C = position + 8 >= evenFirst && position + 8 <= evenLast ? dots.C : float.NegativeInfinity;
        dots.D = position + 8 >= oddFirst && position + 8 <= oddLast ? dots.D : float.NegativeInfinity;
        return dots;
    }

    /// <summary>Scores of keys that lie nowhere.</summary>
    public static Float4 Unseen() =>
        new() { A = float.NegativeInfinity, B = float.NegativeInfinity, C = float.NegativeInfinity, D = float.NegativeInfinity };

    /// <summary>Leaves the maxima of the warp's 16 keys.</summary>
    public static void LeaveMaxima(Float4 scores, ArrayView<FloatPair> maxima, int place, int lane)
    {
        float even = SoftmaxMath.Max(scores.A, scores.C), odd = SoftmaxMath.Max(scores.B, scores.D);
        for (int offset = 4; offset < 32; offset <<= 1)
        {
            even = SoftmaxMath.Max(even, Warp.ShuffleXor(even, offset));
            odd = SoftmaxMath.Max(odd, Warp.ShuffleXor(odd, offset));
        }
        if (lane < 4)
            maxima[place] = new() { Even = even, Odd = odd };
    }

    /// <summary>The maxima of the chunk; its sums are still zero.</summary>
    public static ColumnPair ChunkMaxima(ArrayView<FloatPair> maxima, int pairOfColumns, int warps)
    {
        ColumnPair pair = Nothing();
        for (int warp = 0; warp < warps; warp++)
        {
            FloatPair max = maxima[warp * TensorAttention.MostPairs + pairOfColumns];
            pair.EvenMax = SoftmaxMath.Max(pair.EvenMax, max.Even);
            pair.OddMax = SoftmaxMath.Max(pair.OddMax, max.Odd);
        }
        return pair;
    }

    /// <summary>Leaves the weights of the warp's 16 keys as a B operand from <paramref name="operand"/> on, and their sums.</summary>
    public static void LeaveWeights<TElement>(Float4 scores, ColumnPair chunk, ArrayView<UInt2> weights, int operand, ArrayView<FloatPair> sums, int place, int lane)
        where TElement : unmanaged, ITensorElement
    {
        TElement type = default;
        float evenShift = -SoftmaxMath.Shift(chunk.EvenMax), oddShift = -SoftmaxMath.Shift(chunk.OddMax);
        float a = DeviceMath.Exp2(DeviceMath.Add(scores.A, evenShift)), c = DeviceMath.Exp2(DeviceMath.Add(scores.C, evenShift));
        float b = DeviceMath.Exp2(DeviceMath.Add(scores.B, oddShift)), d = DeviceMath.Exp2(DeviceMath.Add(scores.D, oddShift));

        // 1. The operand has pairs of keys in a register, a lane here has pairs of columns: so each value is a 16-bit store. Column 2t belongs to
        //    lanes 8t + g / 2, column 2t + 1 to the four behind; key g is in the first register of the two, key g + 8 in the second.
        ArrayView<ushort> halves = weights.Cast<ushort>();
        int first = (operand + (lane & 3) * 8 + (lane >> 3)) * 4 + ((lane >> 2) & 1);
        uint even = type.Pack(a, c), odd = type.Pack(b, d);
        halves[first] = (ushort)even;
        halves[first + 2] = (ushort)(even >> 16);
        halves[first + 16] = (ushort)odd;
        halves[first + 18] = (ushort)(odd >> 16);

        // 2. The sums.
        float evenSum = DeviceMath.Add(a, c), oddSum = DeviceMath.Add(b, d);
        for (int offset = 4; offset < 32; offset <<= 1)
        {
            evenSum = DeviceMath.Add(evenSum, Warp.ShuffleXor(evenSum, offset));
            oddSum = DeviceMath.Add(oddSum, Warp.ShuffleXor(oddSum, offset));
        }
        if (lane < 4)
            sums[place] = new() { Even = evenSum, Odd = oddSum };
    }

    /// <summary>The chunk with the sums of all warps, in ascending order.</summary>
    public static ColumnPair ChunkSums(ColumnPair chunk, ArrayView<FloatPair> sums, int pairOfColumns, int warps)
    {
        for (int warp = 0; warp < warps; warp++)
        {
            FloatPair sum = sums[warp * TensorAttention.MostPairs + pairOfColumns];
            chunk.EvenSum = DeviceMath.Add(chunk.EvenSum, sum.Even);
            chunk.OddSum = DeviceMath.Add(chunk.OddSum, sum.Odd);
        }
        return chunk;
    }

    /// <summary>A tile after a chunk.</summary>
    public static MergedTile Merge(Float4 merged, ColumnPair state, Float4 weighted, ColumnPair chunk)
    {
        if (chunk.EvenMax != float.NegativeInfinity)
        {
            float keep = SoftmaxMath.Keep(state.EvenMax, chunk.EvenMax), join = SoftmaxMath.Join(state.EvenMax, chunk.EvenMax);
            merged.A = SoftmaxMath.Merge(merged.A, keep, weighted.A, join);
            merged.C = SoftmaxMath.Merge(merged.C, keep, weighted.C, join);
            state.EvenSum = SoftmaxMath.Merge(state.EvenSum, keep, chunk.EvenSum, join);
            state.EvenMax = SoftmaxMath.Max(state.EvenMax, chunk.EvenMax);
        }
        if (chunk.OddMax != float.NegativeInfinity)
        {
            float keep = SoftmaxMath.Keep(state.OddMax, chunk.OddMax), join = SoftmaxMath.Join(state.OddMax, chunk.OddMax);
            merged.B = SoftmaxMath.Merge(merged.B, keep, weighted.B, join);
            merged.D = SoftmaxMath.Merge(merged.D, keep, weighted.D, join);
            state.OddSum = SoftmaxMath.Merge(state.OddSum, keep, chunk.OddSum, join);
            state.OddMax = SoftmaxMath.Max(state.OddMax, chunk.OddMax);
        }
        return new() { Values = merged, Columns = state };
    }
}
