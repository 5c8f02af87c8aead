using System.Buffers.Binary;

namespace TpServe.Kernels.Reference;

/// <summary>The IQ formats with 256 values in a block: codebooks of magnitudes, signs beside them, and IQ4_XS.</summary>
/// <remarks>Numerics all products of scale, level and sign are exact in binary32.</remarks>
internal static class BlocksIq
{
    private const int Values = 256;

    private static ReadOnlySpan<int> TwoBitLevels => [8, 25, 43];

    private static ReadOnlySpan<int> ThreeBitLevels => [4, 12, 20, 28, 36, 44, 52, 62];

    /// <summary>fp16 d | 8 pairs of high scale bits | 8 nibbles of low ones | nibbles as in IQ4_NL, 16 bytes for 32 values: d · (scale − 32) · table[q].</summary>
    internal static void Iq4Xs(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        ReadOnlySpan<sbyte> table = Blocks32.Iq4NlTable;
        for (; values.Length > 0; blocks = blocks[136..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            int high = BinaryPrimitives.ReadUInt16LittleEndian(blocks[2..]);
            for (int i = 0; i < Values; i++)
            {
                int sub = i / 32, packed = blocks[8 + (16 * sub) + (i % 16)];
                int scale = Nibble(blocks[4..], sub) | ((high >> (2 * sub)) & 3) << 4;
                values[i] = d * (scale - 32) * table[i % 32 < 16 ? packed & 15 : packed >> 4];
            }
        }
    }

    /// <summary>fp16 d | for 32 values: 4 codes, then 4 × 7 signs below 4 bits of scale: d · (scale + ½) / 4 · level.</summary>
    internal static void Iq2Xxs(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[66..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                ReadOnlySpan<byte> sub = blocks[(2 + (i / 32 * 8))..];
                uint signs = BinaryPrimitives.ReadUInt32LittleEndian(sub[4..]);
                int group = i % 32 / 8;
                float scale = FloatValues.Half(blocks) * (0.5f + (signs >> 28)) * 0.25f;
                values[i] = scale * TwoBits(CodebookGrids.TwoBitXxs[sub[group]], i % 8) * EvenSign((int)(signs >> (7 * group)), i % 8);
            }
        }
    }

    /// <summary>fp16 d | for 8 values: 9 bits of code, 7 signs | nibble scales for 16 values: d · (scale + ½) / 4 · level.</summary>
    internal static void Iq2Xs(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[74..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                int code = BinaryPrimitives.ReadUInt16LittleEndian(blocks[(2 + (i / 8 * 2))..]);
                float scale = FloatValues.Half(blocks) * (0.5f + Nibble(blocks[66..], i / 16)) * 0.25f;
                values[i] = scale * TwoBits(CodebookGrids.TwoBitXs[code & 511], i % 8) * EvenSign(code >> 9, i % 8);
            }
        }
    }

    /// <summary>fp16 d | 32 low bytes of codes | 32 bytes of signs | 32 pairs of high bits of codes | nibble scales for 16 values: as IQ2_XS.</summary>
    internal static void Iq2S(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[82..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                int group = i / 8, high = (blocks[66 + (group / 4)] >> (2 * (group % 4))) & 3;
                float scale = FloatValues.Half(blocks) * (0.5f + Nibble(blocks[74..], i / 16)) * 0.25f;
                values[i] = scale * TwoBits(CodebookGrids.TwoBitS[blocks[2 + group] | high << 8], i % 8) * Sign(blocks[34 + group], i % 8);
            }
        }
    }

    /// <summary>fp16 d | 64 codes of 4 values | for 32 values 4 × 7 signs below 4 bits of scale: d · (scale + ½) / 2 · level.</summary>
    internal static void Iq3Xxs(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[98..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                uint signs = BinaryPrimitives.ReadUInt32LittleEndian(blocks[(66 + (i / 32 * 4))..]);
                float scale = FloatValues.Half(blocks) * (0.5f + (signs >> 28)) * 0.5f;
                int level = ThreeBitLevels[(CodebookGrids.ThreeBitXxs[blocks[2 + (i / 4)]] >> (i % 4 * 3)) & 7];
                values[i] = scale * level * EvenSign((int)(signs >> (i % 32 / 8 * 7)), i % 8);
            }
        }
    }

    /// <summary>fp16 d | 64 low bytes of codes of 4 values | 64 ninth bits | 32 bytes of signs | nibble scales for 32 values: d · (2 · scale + 1) · level.</summary>
    internal static void Iq3S(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[110..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                int group = i / 4, code = blocks[2 + group] | ((blocks[66 + (group / 8)] >> (group % 8)) & 1) << 8;
                float scale = FloatValues.Half(blocks) * ((2 * Nibble(blocks[106..], i / 32)) + 1);
                int level = (2 * ((CodebookGrids.ThreeBitS[code] >> (i % 4 * 3)) & 7)) + 1;
                values[i] = scale * level * Sign(blocks[74 + (i / 8)], i % 8);
            }
        }
    }

    /// <summary>fp16 d | 32 low bytes of codes | for 32 values four times 3 high bits, 3 bits of scale, a sign of the shift: d · (2 · scale + 1) · (level ± ⅛).</summary>
    internal static void Iq1S(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[50..], values = values[Values..])
        {
            for (int i = 0; i < Values; i++)
            {
                int high = BinaryPrimitives.ReadUInt16LittleEndian(blocks[(34 + (i / 32 * 2))..]);
                int code = blocks[2 + (i / 8)] | ((high >> (i % 32 / 8 * 3)) & 7) << 8;
                float scale = FloatValues.Half(blocks) * ((2 * ((high >> 12) & 7)) + 1);
                values[i] = scale * (OneBit(code, i % 8) + ((high & 0x8000) == 0 ? 0.125f : -0.125f));
            }
        }
    }

    /// <summary>32 low bytes of codes | a nibble each with 3 high bits and a sign of the shift | four words with four scales of 3 bits below a quarter of fp16 d: as IQ1_S.</summary>
    internal static void Iq1M(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[56..], values = values[Values..])
        {
            int bits = 0;
            for (int word = 0; word < 4; word++)
                bits |= BinaryPrimitives.ReadUInt16LittleEndian(blocks[(48 + (2 * word))..]) >> 12 << (4 * word);
            float d = (float)BitConverter.UInt16BitsToHalf((ushort)bits);
            for (int i = 0; i < Values; i++)
            {
                int high = Nibble(blocks[32..], i / 8), code = blocks[i / 8] | (high & 7) << 8;
                int scale = (BinaryPrimitives.ReadUInt16LittleEndian(blocks[(48 + (i / 64 * 2))..]) >> (i % 64 / 16 * 3)) & 7;
                values[i] = d * ((2 * scale) + 1) * (OneBit(code, i % 8) + ((high & 8) == 0 ? 0.125f : -0.125f));
            }
        }
    }

    private static int Nibble(ReadOnlySpan<byte> nibbles, int index) => (nibbles[index / 2] >> (index % 2 * 4)) & 15;

    private static int TwoBits(int entry, int value) => TwoBitLevels[(entry >> (2 * value)) & 3];

    private static int OneBit(int code, int value) => ((CodebookGrids.OneBit[code] >> (2 * value)) & 3) - 1;

    private static float Sign(int signs, int value) => ((signs >> value) & 1) == 0 ? 1f : -1f;

    /// <summary>Of seven signs, and of the eighth, which makes the number of negative ones even.</summary>
    private static float EvenSign(int signs, int value)
    {
        signs &= 127;
        return Sign(signs | (int.PopCount(signs) & 1) << 7, value);
    }
}
