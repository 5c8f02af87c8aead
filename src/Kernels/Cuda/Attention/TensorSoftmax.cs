using ILGPU;

namespace TpServe.Kernels.Cuda;

/// <summary>The softmax of one tile of S^T: a lane has keys g and g + 8 (g = lane / 4) of columns 2t and 2t + 1 (t = lane % 4).</summary>
/// <remarks>Numerics see <see cref="TensorAttention"/> and <see cref="SoftmaxMath"/>; the same instructions for every tile, whoever its neighbours are.</remarks>
internal static class TensorSoftmax
{
    /// <summary>Two columns that have seen nothing.</summary>
    public static ColumnPair Nothing() => new() { EvenMax = float.NegativeInfinity, OddMax = float.NegativeInfinity };

    /// <summary>Scores of products; −∞ where the column does not see the position.</summary>
    public static Float4 Scores(Float4 dots, bool isKnown, int position, int column, ArrayView<int> firsts, ArrayView<int> lasts, AttentionNumbers numbers)
    {
        int evenFirst = firsts[column], evenLast = lasts[column], oddFirst = firsts[column + 1], oddLast = lasts[column + 1];
        return new()
        {
            A = Score(dots.A, isKnown, position, evenFirst, evenLast, numbers),
            B = Score(dots.B, isKnown, position, oddFirst, oddLast, numbers),
            C = Score(dots.C, isKnown, position + 8, evenFirst, evenLast, numbers),
            D = Score(dots.D, isKnown, position + 8, oddFirst, oddLast, numbers),
        };
    }

    /// <summary>Leaves the maxima of the warp's 16 keys.</summary>
    public static void LeaveMaxima(Float4 scores, ArrayView<float> maxima, int place, int lane)
    {
        float even = SoftmaxMath.Max(scores.A, scores.C), odd = SoftmaxMath.Max(scores.B, scores.D);
        for (int offset = 4; offset < 32; offset <<= 1)
        {
            even = SoftmaxMath.Max(even, Warp.ShuffleXor(even, offset));
            odd = SoftmaxMath.Max(odd, Warp.ShuffleXor(odd, offset));
        }
        if (lane < 4)
        {
            maxima[place] = even;
            maxima[place + 1] = odd;
        }
    }

    /// <summary>The maxima of the chunk; its sums are still zero.</summary>
    public static ColumnPair ChunkMaxima(ArrayView<float> maxima, int column, int warps)
    {
        ColumnPair pair = Nothing();
        for (int warp = 0; warp < warps; warp++)
        {
            pair.EvenMax = SoftmaxMath.Max(pair.EvenMax, maxima[warp * TensorAttention.MostColumns + column]);
            pair.OddMax = SoftmaxMath.Max(pair.OddMax, maxima[warp * TensorAttention.MostColumns + column + 1]);
        }
        return pair;
    }

    /// <summary>Leaves the weights of the warp's 16 keys as a B operand from <paramref name="operand"/> on, and their sums.</summary>
    public static void LeaveWeights<TElement>(Float4 scores, ColumnPair chunk, ArrayView<UInt2> weights, int operand, ArrayView<float> sums, int place, int lane)
        where TElement : unmanaged, ITensorElement
    {
        TElement type = default;
        float evenShift = -SoftmaxMath.Shift(chunk.EvenMax), oddShift = -SoftmaxMath.Shift(chunk.OddMax);
        float a = DeviceMath.Exp2(DeviceMath.Add(scores.A, evenShift)), c = DeviceMath.Exp2(DeviceMath.Add(scores.C, evenShift));
        float b = DeviceMath.Exp2(DeviceMath.Add(scores.B, oddShift)), d = DeviceMath.Exp2(DeviceMath.Add(scores.D, oddShift));

        // 1. The operand has pairs of keys in a register, a lane here has pairs of columns: so each value is a 16-bit store. Column 2t belongs to
        //    lanes 8t + g / 2, column 2t + 1 to the four behind; key g is in the first register of the two, key g + 8 in the second.
        ArrayView<ushort> halves = weights.Cast<ushort>();
        int first = (operand + lane % 4 * 8 + lane / 8) * 4 + lane / 4 % 2;
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
        {
            sums[place] = evenSum;
            sums[place + 1] = oddSum;
        }
    }

    /// <summary>The chunk with the sums of all warps, in ascending order.</summary>
    public static ColumnPair ChunkSums(ColumnPair chunk, ArrayView<float> sums, int column, int warps)
    {
        for (int warp = 0; warp < warps; warp++)
        {
            chunk.EvenSum = DeviceMath.Add(chunk.EvenSum, sums[warp * TensorAttention.MostColumns + column]);
            chunk.OddSum = DeviceMath.Add(chunk.OddSum, sums[warp * TensorAttention.MostColumns + column + 1]);
        }
        return chunk;
    }

    /// <summary>The weighted values after a chunk.</summary>
    public static Float4 Merge(Float4 merged, ColumnPair state, Float4 weighted, ColumnPair chunk)
    {
        if (chunk.EvenMax != float.NegativeInfinity)
        {
            float keep = SoftmaxMath.Keep(state.EvenMax, chunk.EvenMax), join = SoftmaxMath.Join(state.EvenMax, chunk.EvenMax);
            merged.A = SoftmaxMath.Merge(merged.A, keep, weighted.A, join);
            merged.C = SoftmaxMath.Merge(merged.C, keep, weighted.C, join);
        }
        if (chunk.OddMax != float.NegativeInfinity)
        {
            float keep = SoftmaxMath.Keep(state.OddMax, chunk.OddMax), join = SoftmaxMath.Join(state.OddMax, chunk.OddMax);
            merged.B = SoftmaxMath.Merge(merged.B, keep, weighted.B, join);
            merged.D = SoftmaxMath.Merge(merged.D, keep, weighted.D, join);
        }
        return merged;
    }

    /// <summary>Maxima and sums after a chunk.</summary>
    public static ColumnPair Merge(ColumnPair state, ColumnPair chunk)
    {
        if (chunk.EvenMax != float.NegativeInfinity)
        {
            state.EvenSum = SoftmaxMath.Merge(state.EvenSum, SoftmaxMath.Keep(state.EvenMax, chunk.EvenMax), chunk.EvenSum, SoftmaxMath.Join(state.EvenMax, chunk.EvenMax));
            state.EvenMax = SoftmaxMath.Max(state.EvenMax, chunk.EvenMax);
        }
        if (chunk.OddMax != float.NegativeInfinity)
        {
            state.OddSum = SoftmaxMath.Merge(state.OddSum, SoftmaxMath.Keep(state.OddMax, chunk.OddMax), chunk.OddSum, SoftmaxMath.Join(state.OddMax, chunk.OddMax));
            state.OddMax = SoftmaxMath.Max(state.OddMax, chunk.OddMax);
        }
        return state;
    }

    private static float Score(float dot, bool isKnown, int position, int first, int last, AttentionNumbers numbers) =>
        isKnown && position >= first && position <= last ? SoftmaxMath.Score(dot, numbers.Factor, numbers.Cap) : float.NegativeInfinity;
}
