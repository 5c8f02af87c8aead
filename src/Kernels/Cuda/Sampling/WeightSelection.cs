using ILGPU;
using TpServe.Kernels.Cuda.Ops;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>The key of a row at which the weights of the keys down to it reach a sum, found by one group of threads.</summary>
internal static class WeightSelection
{
    private const int Digits = KeySelection.Digits;
    private const int WarpSize = 32;

    /// <summary>Of the keys that are at least <paramref name="bound"/> and weigh at least <paramref name="least"/>, the first in descending order whose weight, with
    /// those before it, exceeds <paramref name="target"/>; or a number just below it and above the next. All of them together do. All threads call it, once a kernel.</summary>
    /// <remarks>
    /// As <see cref="KeySelection"/> finds the k-th largest key, digit by digit from the highest, but by the sum of weights and not by their number. It ends where a
    /// digit has one key.
    /// Launch   whole warps.
    /// Cost     a read of the row a digit, three or four of them; additions in shared memory for keys that weigh at least so much, which of a peaked row are few.
    /// </remarks>
    public static ulong Bound(RowKeys source, int count, ulong bound, FixedWeights weights, ulong least, ulong target)
    {
        ArrayView<ulong> sums = SharedMemory.Allocate<ulong>(Digits);
        ArrayView<int> counts = SharedMemory.Allocate<int>(Digits);
        ArrayView<int> found = SharedMemory.Allocate<int>(1);
        ArrayView<ulong> above = SharedMemory.Allocate<ulong>(1);
        ulong prefix = 0; // the digits found, at their place
        ulong mask = 0;   // ones over them
        for (int shift = 64 - KeySelection.DigitBits; shift >= 0; shift -= KeySelection.DigitBits)
        {
            // 1. What the keys of the prefix weigh by their next digit.
            for (int digit = Group.IdxX; digit < Digits; digit += Group.DimX)
            {
                sums[digit] = 0;
                counts[digit] = 0;
            }
            Group.Barrier();
            for (int i = Group.IdxX; i < count; i += Group.DimX)
            {
                ulong key = source.Key(i);
                if ((key & mask) != prefix || key < bound)
                    continue;
                ulong weight = weights.Of(key);
                if (weight < least || weight == 0)
                    continue;
                int digit = (int)(key >> shift) & (Digits - 1);
                Atomic.Add(ref sums[digit], weight);
                Atomic.Add(ref counts[digit], 1);
            }
            Group.Barrier();

            // 2. The digit where the sum from above exceeds the target.
            if (Group.IdxX < WarpSize)
                FindDigit(sums, target, found, above);
            Group.Barrier();
            prefix |= (ulong)(uint)found[0] << shift;
            mask |= (ulong)(Digits - 1) << shift;
            target -= above[0];
            if (counts[found[0]] == 1)
                break;
            Group.Barrier(); // counts and what was found have been read by all
        }
        return prefix;
    }

    /// <summary>One warp: lane l adds the digits [8·l, 8·l + 8), and the lane in which the sum from above passes the target looks at which of them.</summary>
    private static void FindDigit(ArrayView<ulong> sums, ulong target, ArrayView<int> found, ArrayView<ulong> aboveFound)
    {
        const int LaneDigits = Digits / WarpSize;
        int first = Warp.LaneIdx * LaneDigits;
        ulong own = 0;
        for (int i = 0; i < LaneDigits; i++)
            own += sums[first + i];

        // Weights from this lane's digits up to the highest.
        ulong upward = own;
        for (int offset = 1; offset < WarpSize; offset *= 2)
        {
            ulong other = Warp.ShuffleDown(upward, offset);
            upward += Warp.LaneIdx + offset < WarpSize ? other : 0;
        }
        ulong above = upward - own;
        if (above > target || upward <= target)
            return;
        int digit = first + LaneDigits - 1;
        while (above + sums[digit] <= target)
            above += sums[digit--];
        found[0] = digit;
        aboveFound[0] = above;
    }
}
