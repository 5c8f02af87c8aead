using System.Buffers.Binary;

namespace TpServe.Kernels.Reference;

/// <summary>The formats with 32 values in a block. Of the packed nibbles, byte j holds value j (low) and value j + 16 (high).</summary>
internal static class Blocks32
{
    private const int Half = 16;
    private const int Values = 2 * Half;

    /// <summary>The values of IQ4_NL's 16 indices.</summary>
    internal static ReadOnlySpan<sbyte> Iq4NlTable => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    /// <summary>fp16 d | 16 bytes of nibbles: d · (q − 8).</summary>
    internal static void Q4_0(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[18..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            for (int j = 0; j < Half; j++)
            {
                int packed = blocks[2 + j];
                values[j] = d * ((packed & 15) - 8);
                values[j + Half] = d * ((packed >> 4) - 8);
            }
        }
    }

    /// <summary>fp16 d | fp16 m | 16 bytes of nibbles: d · q + m.</summary>
    internal static void Q4_1(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[20..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            float m = FloatValues.Half(blocks[2..]);
            for (int j = 0; j < Half; j++)
            {
                int packed = blocks[4 + j];
                values[j] = d * (packed & 15) + m;
                values[j + Half] = d * (packed >> 4) + m;
            }
        }
    }

    /// <summary>fp16 d | fifth bits as a 32-bit word, value i's at bit i | 16 bytes of nibbles: d · (q − 16).</summary>
    internal static void Q5_0(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[22..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            uint high = BinaryPrimitives.ReadUInt32LittleEndian(blocks[2..]);
            for (int j = 0; j < Half; j++)
            {
                int packed = blocks[6 + j];
                values[j] = d * (((packed & 15) | Fifth(high, j)) - 16);
                values[j + Half] = d * (((packed >> 4) | Fifth(high, j + Half)) - 16);
            }
        }
    }

    /// <summary>fp16 d | fp16 m | fifth bits | 16 bytes of nibbles: d · q + m.</summary>
    internal static void Q5_1(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[24..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            float m = FloatValues.Half(blocks[2..]);
            uint high = BinaryPrimitives.ReadUInt32LittleEndian(blocks[4..]);
            for (int j = 0; j < Half; j++)
            {
                int packed = blocks[8 + j];
                values[j] = d * ((packed & 15) | Fifth(high, j)) + m;
                values[j + Half] = d * ((packed >> 4) | Fifth(high, j + Half)) + m;
            }
        }
    }

    /// <summary>fp16 d | 32 signed bytes: d · q.</summary>
    internal static void Q8_0(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[34..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            for (int j = 0; j < Values; j++)
                values[j] = d * (sbyte)blocks[2 + j];
        }
    }

    /// <summary>fp16 d | 16 bytes of nibbles: d · table[q].</summary>
    internal static void Iq4Nl(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        ReadOnlySpan<sbyte> table = Iq4NlTable;
        for (; values.Length > 0; blocks = blocks[18..], values = values[Values..])
        {
            float d = FloatValues.Half(blocks);
            for (int j = 0; j < Half; j++)
            {
                int packed = blocks[2 + j];
                values[j] = d * table[packed & 15];
                values[j + Half] = d * table[packed >> 4];
            }
        }
    }

    private static int Fifth(uint high, int index) => (int)((high >> index) & 1) << 4;
}
