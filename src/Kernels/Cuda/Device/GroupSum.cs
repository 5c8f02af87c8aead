using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>Sums, and the largest, over the threads of a group in one fixed order.</summary>
/// <remarks>ILGPU.Algorithms' GroupExtensions.AllReduce does the same on a GPU, but never returns on ILGPU's CPU accelerator.</remarks>
internal static class GroupSum
{
    private const int MostWarps = 32;

    /// <summary>The sum of every thread's value, on every thread. All threads of the group call it; their number is a multiple of 32.</summary>
    /// <remarks>Numerics the order depends on the number of threads alone: a butterfly inside each warp, then the warps in ascending order.</remarks>
    public static float Of(float value)
    {
        ArrayView<float> sums = SharedMemory.Allocate<float>(MostWarps);
        for (int offset = 16; offset > 0; offset >>= 1)
            value = DeviceMath.Add(value, Warp.ShuffleXor(value, offset));
        Group.Barrier(); // an earlier sum of the same group has been read by all
        if (Warp.IsFirstLane)
            sums[Group.IdxX / 32] = value;
        Group.Barrier();
        float total = sums[0];
        for (int warp = 1; warp < Group.DimX / 32; warp++)
            total = DeviceMath.Add(total, sums[warp]);
        return total;
    }

    /// <summary>As above, of integers: no order is left to tell.</summary>
    public static ulong Of(ulong value)
    {
        ArrayView<ulong> sums = SharedMemory.Allocate<ulong>(MostWarps);
        for (int offset = 16; offset > 0; offset >>= 1)
            value += Warp.ShuffleXor(value, offset);
        Group.Barrier(); // an earlier sum of the same group has been read by all
        if (Warp.IsFirstLane)
            sums[Group.IdxX / 32] = value;
        Group.Barrier();
        ulong total = sums[0];
        for (int warp = 1; warp < Group.DimX / 32; warp++)
            total += sums[warp];
        return total;
    }

    /// <summary>The largest of every thread's value, on every thread.</summary>
    public static ulong Largest(ulong value)
    {
        ArrayView<ulong> values = SharedMemory.Allocate<ulong>(MostWarps);
        for (int offset = 16; offset > 0; offset >>= 1)
        {
            ulong other = Warp.ShuffleXor(value, offset);
            value = other > value ? other : value;
        }
        Group.Barrier();
        if (Warp.IsFirstLane)
            values[Group.IdxX / 32] = value;
        Group.Barrier();
        ulong largest = values[0];
        for (int warp = 1; warp < Group.DimX / 32; warp++)
            largest = values[warp] > largest ? values[warp] : largest;
        return largest;
    }
}
