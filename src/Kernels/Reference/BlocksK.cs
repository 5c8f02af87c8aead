using System.Buffers.Binary;

namespace TpServe.Kernels.Reference;

/// <summary>The K formats: 256 values in a block, cut into sub-blocks with small integer scales of their own.</summary>
internal static class BlocksK
{
    private const int Values = 256;

    /// <summary>16 bytes of (scale | min &lt;&lt; 4) | 64 bytes of 2-bit values | fp16 d | fp16 dmin: d·scale·q − dmin·min per 16 values.</summary>
    /// <remarks>Each half of 128 values takes 32 bytes; value 32·s + l of the half is at bits 2s of byte l.</remarks>
    internal static void Q2(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[84..], values = values[Values..])
        {
            ReadOnlySpan<byte> quants = blocks[16..80];
            float d = FloatValues.Half(blocks[80..]), dmin = FloatValues.Half(blocks[82..]);
            for (int i = 0; i < Values; i++)
            {
                int packed = blocks[i / 16];
                int q = (quants[(i / 128 * 32) + (i % 32)] >> (i % 128 / 32 * 2)) & 3;
                values[i] = d * (packed & 15) * q - dmin * (packed >> 4);
            }
        }
    }

    /// <summary>32 bytes of third bits | 64 bytes of 2-bit values | 12 bytes of 16 six-bit scales | fp16 d: d·(scale − 32)·(q − 4).</summary>
    internal static void Q3(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[110..], values = values[Values..])
        {
            ReadOnlySpan<byte> quants = blocks[32..96];
            float d = FloatValues.Half(blocks[108..]);
            for (int i = 0; i < Values; i++)
            {
                float scale = d * (Q3Scale(blocks[96..108], i / 16) - 32);
                int low = (quants[(i / 128 * 32) + (i % 32)] >> (i % 128 / 32 * 2)) & 3;
                int high = (blocks[i % 32] >> (i / 32)) & 1;
                values[i] = scale * (low + 4 * high - 4);
            }
        }
    }

    /// <summary>fp16 d | fp16 dmin | 12 bytes of eight six-bit scales and minimums | 128 bytes of nibbles: d·scale·q − dmin·min per 32 values.</summary>
    /// <remarks>Each 64 values take 32 bytes: the first 32 values are the low nibbles, the next 32 the high ones.</remarks>
    internal static void Q4(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[144..], values = values[Values..])
        {
            ReadOnlySpan<byte> quants = blocks[16..144];
            float d = FloatValues.Half(blocks), dmin = FloatValues.Half(blocks[2..]);
            for (int sub = 0; sub < 8; sub++)
            {
                (int scale, int min) = ScaleAndMin(blocks[4..16], sub);
                float s = d * scale, m = dmin * min;
                for (int l = 0; l < 32; l++)
                    values[(32 * sub) + l] = s * ((quants[(sub / 2 * 32) + l] >> (sub % 2 * 4)) & 15) - m;
            }
        }
    }

    /// <summary>As Q4, with 32 bytes of fifth bits before the nibbles: value l of sub-block s at bit s of byte l.</summary>
    internal static void Q5(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[176..], values = values[Values..])
        {
            ReadOnlySpan<byte> high = blocks[16..48], quants = blocks[48..176];
            float d = FloatValues.Half(blocks), dmin = FloatValues.Half(blocks[2..]);
            for (int sub = 0; sub < 8; sub++)
            {
                (int scale, int min) = ScaleAndMin(blocks[4..16], sub);
                float s = d * scale, m = dmin * min;
                for (int l = 0; l < 32; l++)
                {
                    int q = ((quants[(sub / 2 * 32) + l] >> (sub % 2 * 4)) & 15) | (((high[l] >> sub) & 1) << 4);
                    values[(32 * sub) + l] = s * q - m;
                }
            }
        }
    }

    /// <summary>128 bytes of low nibbles | 64 bytes of high 2 bits | 16 signed scales | fp16 d: d·scale·(q − 32) per 16 values.</summary>
    /// <remarks>
    /// Each half of 128 values takes 64 and 32 bytes. Quarter t (32 values) of a half: low bits in bytes 32·(t mod 2) + l, low nibble for
    /// t &lt; 2 and high nibble after; high bits at bits 2t of byte l.
    /// </remarks>
    internal static void Q6(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[210..], values = values[Values..])
        {
            ReadOnlySpan<byte> low = blocks[..128], high = blocks[128..192];
            float d = FloatValues.Half(blocks[208..]);
            for (int i = 0; i < Values; i++)
            {
                int half = i / 128, quarter = i % 128 / 32, l = i % 32;
                int q = (low[(half * 64) + (quarter % 2 * 32) + l] >> (quarter / 2 * 4)) & 15;
                q |= ((high[(half * 32) + l] >> (2 * quarter)) & 3) << 4;
                values[i] = d * (sbyte)blocks[192 + (i / 16)] * (q - 32);
            }
        }
    }

    /// <summary>binary32 d | 256 signed bytes | 16 sums that are not needed: d · q.</summary>
    internal static void Q8(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        for (; values.Length > 0; blocks = blocks[292..], values = values[Values..])
        {
            float d = BinaryPrimitives.ReadSingleLittleEndian(blocks);
            for (int i = 0; i < Values; i++)
                values[i] = d * (sbyte)blocks[4 + i];
        }
    }

    /// <summary>Scale and minimum <paramref name="index"/> of Q4_K and Q5_K.</summary>
    /// <remarks>
    /// Bytes 0–3 hold scales 0–3, bytes 4–7 minimums 0–3 in their low six bits; their top two bits are the high bits of scales and minimums
    /// 4–7, whose low nibbles are bytes 8–11.
    /// </remarks>
    internal static (int Scale, int Min) ScaleAndMin(ReadOnlySpan<byte> packed, int index) => index < 4
        ? (packed[index] & 63, packed[index + 4] & 63)
        : ((packed[index + 4] & 15) | (packed[index - 4] >> 6 << 4), (packed[index + 4] >> 4) | (packed[index] >> 6 << 4));

    /// <summary>Six-bit scale <paramref name="index"/> of Q3_K: low nibbles in bytes 0–7, high two bits in bytes 8–11.</summary>
    internal static int Q3Scale(ReadOnlySpan<byte> packed, int index)
    {
        int low = (packed[index % 8] >> (index / 8 * 4)) & 15;
        int high = (packed[8 + (index % 4)] >> (index / 4 * 2)) & 3;
        return low | (high << 4);
    }
}
