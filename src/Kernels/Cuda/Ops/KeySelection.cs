using ILGPU;
using Keys = ILGPU.ArrayView<ulong>;

namespace TpServe.Kernels.Cuda.Ops;

/// <summary>The k largest keys of a source, found by one group of threads.</summary>
internal static class KeySelection
{
    /// <summary>Bits of a key that one pass looks at.</summary>
    public const int DigitBits = 8;

    /// <summary>Values of a digit.</summary>
    public const int Digits = 1 << DigitBits;

    private const int WarpSize = 32;

    /// <summary>Puts the largest k keys into <paramref name="best"/>, in no order, and zeros where there are less. All threads call it, once a kernel.</summary>
    /// <remarks>
    /// 1. From the highest digit on, a histogram of the keys that share the digits found so far gives the next digit of the k-th largest.
    /// 2. It ends early where a digit's keys are all wanted: for values that differ after two or three digits.
    /// 3. Everything not below the bound is gathered.
    /// Launch   whole warps.
    /// </remarks>
    public static void Best<TSource>(TSource source, int count, int k, Keys best) where TSource : struct, IKeySource
    {
        for (int i = Group.IdxX; i < k; i += Group.DimX)
            best[i] = 0;
        if (k == 1)
        {
            Largest(source, count, best);
            return;
        }

        ArrayView<int> filled = SharedMemory.Allocate<int>(1);
        if (Group.IsFirstThread)
            filled[0] = 0;
        ulong bound = count > k ? Bound(source, count, k) : 1;
        Group.Barrier();
        for (int i = Group.IdxX; i < count; i += Group.DimX)
        {
            ulong key = source.Key(i);
            if (key >= bound)
                best[Atomic.Add(ref filled[0], 1)] = key;
        }
        Group.Barrier();
    }

    /// <summary>The largest key alone: one pass.</summary>
    private static void Largest<TSource>(TSource source, int count, Keys best) where TSource : struct, IKeySource
    {
        ulong largest = 0;
        for (int i = Group.IdxX; i < count; i += Group.DimX)
        {
            ulong key = source.Key(i);
            largest = key > largest ? key : largest;
        }
        for (int offset = WarpSize / 2; offset > 0; offset /= 2)
        {
            ulong other = Warp.ShuffleXor(largest, offset);
            largest = other > largest ? other : largest;
        }
        Group.Barrier(); // the place is zero
        if (Warp.IsFirstLane)
            Atomic.Max(ref best[0], largest);
        Group.Barrier();
    }

    /// <summary>The smallest of the k largest keys, or a bound just below it. There are more than k keys. All threads call it, once a kernel.</summary>
    public static ulong Bound<TSource>(TSource source, int count, int k) where TSource : struct, IKeySource
    {
        ArrayView<int> histogram = SharedMemory.Allocate<int>(Digits);
        ArrayView<int> found = SharedMemory.Allocate<int>(3); // the digit, its keys, how many of them are wanted
        ulong prefix = 0; // the digits found, at their place
        ulong mask = 0;   // ones over them
        int wanted = k;
        for (int shift = 64 - DigitBits; shift >= 0; shift -= DigitBits)
        {
            // 1. Count the keys of the prefix by their next digit.
            for (int digit = Group.IdxX; digit < Digits; digit += Group.DimX)
                histogram[digit] = 0;
            Group.Barrier();
            for (int i = Group.IdxX; i < count; i += Group.DimX)
            {
                ulong key = source.Key(i);
                if ((key & mask) == prefix)
                    Atomic.Add(ref histogram[(int)(key >> shift) & (Digits - 1)], 1);
            }
            Group.Barrier();

            // 2. The digit where the count from above reaches what is wanted.
            if (Group.IdxX < WarpSize)
                FindDigit(histogram, wanted, found);
            Group.Barrier();
            prefix |= (ulong)(uint)found[0] << shift;
            mask |= (ulong)(Digits - 1) << shift;
            wanted = found[2];
            if (found[1] == wanted)
                break;
        }
        // A bound of zero would take the absent keys too.
        return prefix == 0 ? 1 : prefix;
    }

    /// <summary>One warp: lane l counts the digits [8·l, 8·l + 8), and the lane that reaches the wanted count looks which of them it was.</summary>
    private static void FindDigit(ArrayView<int> histogram, int wanted, ArrayView<int> found)
    {
        const int LaneDigits = Digits / WarpSize;
        int first = Warp.LaneIdx * LaneDigits, own = 0;
        for (int i = 0; i < LaneDigits; i++)
            own += histogram[first + i];

        // Keys from this lane's digits up to the highest.
        int upward = own;
        for (int offset = 1; offset < WarpSize; offset *= 2)
        {
            int other = Warp.ShuffleDown(upward, offset);
            upward += Warp.LaneIdx + offset < WarpSize ? other : 0;
        }
        int above = upward - own;
        if (above >= wanted || upward < wanted)
            return;
        int digit = first + LaneDigits - 1;
        while (above + histogram[digit] < wanted)
            above += histogram[digit--];
        found[0] = digit;
        found[1] = histogram[digit];
        found[2] = wanted - above;
    }
}
