using System.Buffers.Binary;

namespace TpServe.Kernels.Reference;

/// <summary>The formats of few values: signs, three values, 4-bit floats; and what hub folders' forms are brought into.</summary>
internal static class BlocksFew
{
    /// <summary>E2M1, doubled.</summary>
    private static ReadOnlySpan<sbyte> Float4 => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    private static ReadOnlySpan<int> Powers => [1, 3, 9, 27, 81];

    /// <summary>48 and 4 bytes of base-3 digits | fp16 d: d · (digit − 1). 32 bytes hold digit n of values 32n…, then 16 bytes, then 4 bytes with four digits.</summary>
    /// <remarks>A byte is the fraction of its digits times 256: multiplied by 3^n modulo 256, the top of three times that is digit n.</remarks>
    internal static void Tq1(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[54..], values = values[256..])
        {
            float d = FloatValues.Half(blocks[52..]);
            int at = 0;
            foreach ((int first, int count, int digits) in new[] { (0, 32, 5), (32, 16, 5), (48, 4, 4) })
                for (int n = 0; n < digits; n++)
                    for (int i = 0; i < count; i++)
                        values[at++] = d * (((byte)(blocks[first + i] * Powers[n]) * 3 >> 8) - 1);
        }
    }

    /// <summary>64 bytes of 2-bit values | fp16 d: d · (q − 1). Each half of 128 values takes 32 bytes; value 32·s + l of the half is at bits 2s of byte l.</summary>
    internal static void Tq2(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[66..], values = values[256..])
        {
            float d = FloatValues.Half(blocks[64..]);
            for (int i = 0; i < 256; i++)
                values[i] = d * (((blocks[(i / 128 * 32) + (i % 32)] >> (i % 128 / 32 * 2)) & 3) - 1);
        }
    }

    /// <summary>fp16 d | 128 bits in order: d where set, else −d.</summary>
    internal static void Q1(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[18..], values = values[128..])
        {
            float d = FloatValues.Half(blocks);
            for (int i = 0; i < 128; i++)
                values[i] = ((blocks[2 + (i / 8)] >> (i % 8)) & 1) != 0 ? d : -d;
        }
    }

    /// <summary>fp16 d | 64 2-bit values in order: d · (q − 1).</summary>
    internal static void Q2(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[18..], values = values[64..])
        {
            float d = FloatValues.Half(blocks);
            for (int i = 0; i < 64; i++)
                values[i] = d * (((blocks[2 + (i / 4)] >> (i % 4 * 2)) & 3) - 1);
        }
    }

    /// <summary>Exponent e | 16 bytes of nibbles as in Q4_0: 2^(e − 127) · E2M1.</summary>
    internal static void Mxfp4(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[17..], values = values[32..])
        {
            float d = MathF.ScaleB(1f, blocks[0] - 128); // the table is doubled
            for (int j = 0; j < 16; j++)
            {
                values[j] = d * Float4[blocks[1 + j] & 15];
                values[j + 16] = d * Float4[blocks[1 + j] >> 4];
            }
        }
    }

    /// <summary>Four unsigned E4M3 | four times 8 bytes, low nibbles first: scale · E2M1 per 16 values. A scale of 0x7F is read as 0.</summary>
    internal static void Nvfp4(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[36..], values = values[64..])
        {
            for (int i = 0; i < 64; i++)
            {
                int packed = blocks[4 + (i / 16 * 8) + (i % 8)];
                byte scale = blocks[i / 16];
                float d = scale == 0x7F ? 0f : FloatValues.E4M3((byte)(scale & 0x7F)) * 0.5f; // the table is doubled
                values[i] = d * Float4[i % 16 < 8 ? packed & 15 : packed >> 4];
            }
        }
    }

    /// <summary>16-bit scale | zero | 16 bytes of nibbles as in Q4_0: scale · (q − zero).</summary>
    internal static void Int4(WeightFormat format, ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[19..], values = values[32..])
        {
            float d = format == WeightFormat.INT4_F16 ? FloatValues.Half(blocks) : FloatValues.FromBFloat16(BinaryPrimitives.ReadUInt16LittleEndian(blocks));
            for (int j = 0; j < 16; j++)
            {
                values[j] = d * ((blocks[3 + j] & 15) - blocks[2]);
                values[j + 16] = d * ((blocks[3 + j] >> 4) - blocks[2]);
            }
        }
    }

    /// <summary>binary32 scale | 32 signed bytes: scale · q.</summary>
    internal static void Int8(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[36..], values = values[32..])
            for (int j = 0; j < 32; j++)
                values[j] = BinaryPrimitives.ReadSingleLittleEndian(blocks) * (sbyte)blocks[4 + j];
    }

    /// <summary>binary32 scale | 32 E4M3: scale · value.</summary>
    internal static void Fp8(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[36..], values = values[32..])
            for (int j = 0; j < 32; j++)
                values[j] = BinaryPrimitives.ReadSingleLittleEndian(blocks) * FloatValues.E4M3(blocks[4 + j]);
    }
}
