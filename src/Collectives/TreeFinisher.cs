using System.Numerics;
using System.Runtime.CompilerServices;

namespace TpServe.Collectives;

/// <summary>How two partial results become one, element by element.</summary>
internal interface IMerge
{
    /// <summary>Eight, sixteen, … elements at once.</summary>
    static abstract Vector<float> Merge(Vector<float> left, Vector<float> right);

    /// <summary>One element; the same bits as a lane of the vector.</summary>
    static abstract float Merge(float left, float right);
}

/// <summary>left + right in float32.</summary>
internal readonly struct AddMerge : IMerge
{
    /// <inheritdoc/>
    public static Vector<float> Merge(Vector<float> left, Vector<float> right) => left + right;

    /// <inheritdoc/>
    public static float Merge(float left, float right) => left + right;
}

/// <summary>Bitwise or: the sum of values of which at most one is not +0, for any 4-byte type, and even for −0 and NaN the one value's own bits.</summary>
internal readonly struct OrMerge : IMerge
{
    /// <inheritdoc/>
    public static Vector<float> Merge(Vector<float> left, Vector<float> right) => Vector.BitwiseOr(left, right);

    /// <inheritdoc/>
    public static float Merge(float left, float right) =>
        BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(left) | BitConverter.SingleToUInt32Bits(right));
}

/// <summary>Finishes a sum from the pieces of all ranks, in the one order that every rank uses.</summary>
/// <remarks>
/// Numerics each element is merged by itself, left with right, as the schedule says; vector width and blocking change no bit.
/// Cost     reads every piece once and writes the result once; partial sums stay in a few KiB of scratch that the first cache level holds.
/// </remarks>
internal sealed unsafe class TreeFinisher
{
    /// <summary>Elements summed at a time: 4 KiB, so that the scratch of a deep tree and the pieces being read fit 32 KiB.</summary>
    private const int Block = 1024;

    private float[] _scratch = [];

    /// <summary>result[i] ← the tree over pieces[·][i], for i in [0, count).</summary>
    /// <param name="schedule">The order.</param>
    /// <param name="pieces">Addresses of count floats for each piece, in leaf order; each either is the result or does not overlap it.</param>
    /// <param name="result">Where count floats go.</param>
    /// <param name="count">Elements.</param>
    public void Finish<TMerge>(SumSchedule schedule, ReadOnlySpan<nint> pieces, float* result, int count)
        where TMerge : struct, IMerge
    {
        if (pieces.Length == 1)
        {
            Buffer.MemoryCopy((void*)pieces[0], result, (long)count * sizeof(float), (long)count * sizeof(float));
            return;
        }
        if (_scratch.Length < schedule.Depth * Block)
            _scratch = GC.AllocateUninitializedArray<float>(schedule.Depth * Block, pinned: true);

        // The scratch array is pinned for life, so its address stays valid; entry d of the stack is a piece or scratch block d.
        float* scratch = (float*)Unsafe.AsPointer(ref _scratch[0]);
        float** stack = stackalloc float*[schedule.Depth];
        int[] merges = schedule.Merges;
        for (int first = 0; first < count; first += Block)
        {
            int block = Math.Min(Block, count - first);
            int height = 0;
            for (int piece = 0; piece < pieces.Length; piece++)
            {
                stack[height++] = (float*)pieces[piece] + first;
                for (int merge = merges[piece]; merge > 0; merge--)
                {
                    height--;
                    bool last = piece == pieces.Length - 1 && merge == 1;
                    float* sum = last ? result + first : scratch + (height - 1) * Block;
                    MergeBlock<TMerge>(stack[height - 1], stack[height], sum, block);
                    stack[height - 1] = sum;
                }
            }
        }
    }

    /// <summary>sum[i] ← left[i] merged with right[i]; sum may be left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MergeBlock<TMerge>(float* left, float* right, float* sum, int count)
        where TMerge : struct, IMerge
    {
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            Vector.Store(TMerge.Merge(Vector.Load(left + i), Vector.Load(right + i)), sum + i);
        for (; i < count; i++)
            sum[i] = TMerge.Merge(left[i], right[i]);
    }
}
