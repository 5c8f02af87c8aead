using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu;

/// <summary>Writes rows of float32 activations into a tile of an <see cref="ActivationLayout"/>.</summary>
/// <remarks>
/// Numerics int8: amax = max |x| of the visited inputs; as = amax / 127; code = x · (127 / amax) rounded to nearest even. Where 127 / amax
///          overflows, all codes are 0; where amax is not finite, as is NaN and so is every output. bf16: rounded to nearest even, subnormals to
///          zero, as VCVTNEPS2BF16 does. The same code serves every instruction path.
/// Cost     optimised at the first call: interpreted vectors would make the first steps of a process crawl.
/// </remarks>
internal static unsafe class ActivationTile
{
    /// <summary>Fills one group of a tile with rows [0, rows) at x, <paramref name="stride"/> floats apart.</summary>
    /// <param name="group">The group's place in the tile's first block.</param>
    /// <param name="blockBytes">From block to block: the rows of all groups.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Fill(ActivationLayout layout, LeafPlan plan, float* x, long stride, int rows, byte* group, long blockBytes)
    {
        for (int row = 0; row < rows; row++, x += stride)
            FillRow(layout, plan, x, row, rows, group, blockBytes);
    }

    /// <summary>Fills one row of a group of <paramref name="rows"/> rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FillRow(ActivationLayout layout, LeafPlan plan, float* x, int row, int rows, byte* group, long blockBytes)
    {
        float* padded = stackalloc float[32];
        byte* block = group;
        foreach (BlockVisit visit in plan.Visits)
        {
            float* source = x + visit.Column;
            if (visit.Count != 32)
            {
                new Span<float>(padded, 32).Clear();
                new ReadOnlySpan<float>(source, visit.Count).CopyTo(new Span<float>(padded + visit.Lead, visit.Count));
                source = padded;
            }
            FillBlock(layout, source, row, rows, block);
            block += blockBytes;
        }
    }

    /// <summary>Fills the 32 values of one row in one block of a group.</summary>
    /// <param name="rows">Rows of the group.</param>
    /// <param name="block">The group's place in the block.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void FillBlock(ActivationLayout layout, float* source, int row, int rows, byte* block)
    {
        switch (layout.Kind)
        {
            case ActivationKind.Float32:
                Unsafe.CopyBlockUnaligned(block + (row * 128), source, 128);
                break;
            case ActivationKind.RoundedFloat32:
                for (int i = 0; i < 32; i += 8)
                    (Round(Vector256.Load((uint*)source + i)) << 16).Store((uint*)(block + (row * 128)) + i);
                break;
            case ActivationKind.BFloat16:
                Round(source, (ushort*)(block + (row * 64)));
                break;
            default:
                Quantise(layout, source, block, row, rows);
                break;
        }
    }

    private static void Round(float* source, ushort* target)
    {
        for (int i = 0; i < 32; i += 16)
        {
            Vector256<uint> low = Round(Vector256.Load((uint*)source + i)), high = Round(Vector256.Load((uint*)source + i + 8));
            Vector256.Narrow(low, high).Store(target + i);
        }
    }

    private static Vector256<uint> Round(Vector256<uint> bits)
    {
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFFFFFu), sign = (bits >> 16) & Vector256.Create(0x8000u);
        Vector256<uint> rounded = (magnitude + Vector256.Create(0x7FFFu) + ((magnitude >> 16) & Vector256<uint>.One)) >> 16;
        rounded = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(0x00800000u)), Vector256<uint>.Zero, rounded);
        rounded = Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create(0x7F800000u)), Vector256.Create(0x7FC0u), rounded);
        return rounded | sign;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Quantise(ActivationLayout layout, float* source, byte* block, int row, int rows)
    {
        Vector256<float> x0 = Vector256.Load(source), x1 = Vector256.Load(source + 8), x2 = Vector256.Load(source + 16), x3 = Vector256.Load(source + 24);

        // 1. The largest magnitude, compared as integers: the same order for numbers, and a NaN is the largest of all.
        Vector256<uint> mask = Vector256.Create(0x7FFFFFFFu);
        Vector256<uint> largest = Vector256.Max(
            Vector256.Max(x0.AsUInt32() & mask, x1.AsUInt32() & mask), Vector256.Max(x2.AsUInt32() & mask, x3.AsUInt32() & mask));
        Vector128<uint> largest4 = Vector128.Max(largest.GetLower(), largest.GetUpper());
        largest4 = Vector128.Max(largest4, Vector128.Shuffle(largest4, Vector128.Create(2u, 3, 0, 1)));
        largest4 = Vector128.Max(largest4, Vector128.Shuffle(largest4, Vector128.Create(1u, 0, 3, 2)));
        float amax = BitConverter.UInt32BitsToSingle(largest4.ToScalar());

        // 2. Codes: adding 1.5 · 2^23 rounds to nearest even and leaves the integer in the low mantissa bits.
        float scale = float.IsFinite(amax) ? amax / 127f : float.NaN;
        float inverse = float.IsFinite(amax) && float.IsFinite(127f / amax) ? 127f / amax : 0f;
        Vector256<float> factor = Vector256.Create(inverse), magic = Vector256.Create(12582912f);
        if (inverse == 0f)
            x0 = x1 = x2 = x3 = Vector256<float>.Zero; // infinity · 0 must not become a code
        Vector256<int> magicBits = magic.AsInt32();
        Vector256<int> c0 = ((x0 * factor) + magic).AsInt32() - magicBits, c1 = ((x1 * factor) + magic).AsInt32() - magicBits;
        Vector256<int> c2 = ((x2 * factor) + magic).AsInt32() - magicBits, c3 = ((x3 * factor) + magic).AsInt32() - magicBits;
        Vector256.Narrow(Vector256.Narrow(c0, c1), Vector256.Narrow(c2, c3)).Store((sbyte*)(block + (row * 32)));
        ((float*)(block + (rows * 32)))[row] = scale;

        // 3. What the offset of the codes or the minimum of the weights adds to every output.
        byte* corrections = block + (rows * 36);
        if (layout.Halves == 1)
        {
            Correct(layout, scale, (c0 + c1) + (c2 + c3), corrections, row);
            return;
        }
        Correct(layout, scale, c0 + c1, corrections, row);
        Correct(layout, scale, c2 + c3, corrections + (rows * 4), row);
    }

    // Lane i of the sums holds the codes of the inputs i, i + 8, …
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Correct(ActivationLayout layout, float scale, Vector256<int> sums, byte* corrections, int row)
    {
        Vector128<int> four = sums.GetLower() + sums.GetUpper();
        switch (layout.Correction)
        {
            case CorrectionKind.Minimum:
                ((float*)corrections)[row] = layout.Factor * (scale * Vector128.Sum(four));
                break;
            case CorrectionKind.PairSums:
                short* pair = (short*)corrections + (2 * row);
                pair[0] = (short)(layout.Factor * (four.GetElement(0) + four.GetElement(1)));
                pair[1] = (short)(layout.Factor * (four.GetElement(2) + four.GetElement(3)));
                break;
            default:
                ((int*)corrections)[row] = layout.Factor * Vector128.Sum(four);
                break;
        }
    }
}
