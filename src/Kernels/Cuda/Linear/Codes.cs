using ILGPU;
using TpServe.Kernels.Cuda.Intrinsics;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>How the codes of a block of 16 outputs and 32 inputs lie in memory. They come out as signed bytes.</summary>
internal interface ICodes
{
    /// <summary>How the packer writes them.</summary>
    static abstract CodeKind Kind { get; }

    /// <summary>Words of a block's codes.</summary>
    static abstract int Words { get; }

    /// <summary>The codes of inputs 4 · quad … 4 · quad + 3 of an output.</summary>
    static abstract uint Four(ArrayView<uint> weights, long block, int output, int quad);

    /// <summary>A lane's codes, at its own words, as the first operand of mma.m16n8k32: lane 4g + t holds inputs 4t… of outputs g, g + 8, then inputs 16 + 4t… of both.</summary>
    static abstract UInt4 Fragment(ArrayView<uint> codes, int at);

    /// <summary>The same from a block in shared memory.</summary>
    static abstract UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane);

    /// <summary>Words of a lane's codes.</summary>
    static abstract int LaneWords { get; }
}

/// <summary>Signed bytes: four words a lane.</summary>
internal readonly struct ByteCodes : ICodes
{
    /// <inheritdoc/>
    public static CodeKind Kind => CodeKind.Bytes;

    /// <inheritdoc/>
    public static int Words => 128;

    /// <inheritdoc/>
    public static uint Four(ArrayView<uint> weights, long block, int output, int quad) =>
        weights[block + ((((output & 7) * 4) + (quad & 3)) * 4) + ((quad >> 2) * 2) + (output >> 3)];

    /// <inheritdoc/>
    public static int LaneWords => 4;

    /// <inheritdoc/>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => StreamLoads.Four(ref codes[at]);

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => SharedLoads.Four(ref shared[block + (lane * 4)]);
}

/// <summary>Where nibbles lie: two words a lane; word 0 is output g, word 1 output g + 8; low nibbles are inputs 4t…, high ones inputs 16 + 4t….</summary>
internal static class NibbleWords
{
    /// <summary>Words of a block's codes.</summary>
    public const int Words = 64;

    private const uint LowNibbles = 0x0F0F0F0F;

    /// <summary>The nibbles of inputs 4 · quad … of an output, a byte each.</summary>
    public static uint Four(ArrayView<uint> weights, long block, int output, int quad) =>
        (weights[block + ((((output & 7) * 4) + (quad & 3)) * 2) + (output >> 3)] >> (quad >> 2 << 2)) & LowNibbles;

    /// <summary>A lane's nibbles in the order of the fragment, a byte each.</summary>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => Apart(StreamLoads.Two(ref codes[at]));

    /// <summary>The same from a block in shared memory.</summary>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => Apart(SharedLoads.Two(ref shared[block + (lane * 2)]));

    private static UInt4 Apart(UInt2 words) =>
        new() { A = words.A & LowNibbles, B = words.B & LowNibbles, C = (words.A >> 4) & LowNibbles, D = (words.B >> 4) & LowNibbles };
}

/// <summary>Nibbles as they are: 0..15.</summary>
internal readonly struct NibbleCodes : ICodes
{
    /// <inheritdoc/>
    public static CodeKind Kind => CodeKind.Nibbles;

    /// <inheritdoc/>
    public static int Words => NibbleWords.Words;

    /// <inheritdoc/>
    public static uint Four(ArrayView<uint> weights, long block, int output, int quad) => NibbleWords.Four(weights, block, output, quad);

    /// <inheritdoc/>
    public static int LaneWords => 2;

    /// <inheritdoc/>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => NibbleWords.Fragment(codes, at);

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => NibbleWords.SharedFragment(shared, block, lane);
}

/// <summary>Nibbles minus 8.</summary>
internal readonly struct OffsetNibbleCodes : ICodes
{
    /// <inheritdoc/>
    public static CodeKind Kind => CodeKind.Nibbles;

    /// <inheritdoc/>
    public static int Words => NibbleWords.Words;

    /// <inheritdoc/>
    public static uint Four(ArrayView<uint> weights, long block, int output, int quad) => MinusEight(NibbleWords.Four(weights, block, output, quad));

    /// <inheritdoc/>
    public static int LaneWords => 2;

    /// <inheritdoc/>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => MinusEight(NibbleWords.Fragment(codes, at));

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => MinusEight(NibbleWords.SharedFragment(shared, block, lane));

    private static UInt4 MinusEight(UInt4 nibbles) => new() { A = MinusEight(nibbles.A), B = MinusEight(nibbles.B), C = MinusEight(nibbles.C), D = MinusEight(nibbles.D) };

    // 128 + q − 8 never borrows from the byte above; flipping bit 7 takes the 128 off.
    private static uint MinusEight(uint bytes) => ((bytes | 0x80808080) - 0x08080808) ^ 0x80808080;
}

/// <summary>Nibbles as indices into a table of signed bytes.</summary>
internal readonly struct TableNibbleCodes<TTable> : ICodes
    where TTable : struct, ITableWords
{
    /// <inheritdoc/>
    public static CodeKind Kind => CodeKind.Nibbles;

    /// <inheritdoc/>
    public static int Words => NibbleWords.Words;

    /// <inheritdoc/>
    public static uint Four(ArrayView<uint> weights, long block, int output, int quad) => Look(NibbleWords.Four(weights, block, output, quad));

    /// <inheritdoc/>
    public static int LaneWords => 2;

    /// <inheritdoc/>
    public static UInt4 Fragment(ArrayView<uint> codes, int at) => Look(NibbleWords.Fragment(codes, at));

    /// <inheritdoc/>
    public static UInt4 SharedFragment(ArrayView<uint> shared, int block, int lane) => Look(NibbleWords.SharedFragment(shared, block, lane));

    private static UInt4 Look(UInt4 nibbles) => new() { A = Look(nibbles.A), B = Look(nibbles.B), C = Look(nibbles.C), D = Look(nibbles.D) };

    // The table's 16 bytes are four words; a permutation looks four indices of 0..7 up at once, in its lower and its upper half, and a third one
    // takes for each byte the half its index's fourth bit names.
    private static uint Look(uint bytes)
    {
        uint selector = (bytes & 7) | ((bytes >> 4) & 0x70) | ((bytes >> 8) & 0x700) | ((bytes >> 12) & 0x7000);
        uint low = DeviceBits.Permute(TTable.Word0, TTable.Word1, selector), high = DeviceBits.Permute(TTable.Word2, TTable.Word3, selector);
        uint upper = ((bytes >> 1) & 4) | ((bytes >> 5) & 0x40) | ((bytes >> 9) & 0x400) | ((bytes >> 13) & 0x4000);
        return DeviceBits.Permute(low, high, 0x3210 + upper);
    }
}
