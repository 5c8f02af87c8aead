namespace TpServe.Kernels.Cpu.Packing;

/// <summary>Single codes and scales of a panel by plain arithmetic: what embeddings are read with and every faster decoder is tested against.</summary>
internal static unsafe class PanelCodes
{
    /// <summary>The unsigned code of an input and an output (IQ4_NL: the table's value + 128).</summary>
    public static byte Get(CodeLayout layout, byte* codes, int k, int lane)
    {
        int k4 = k >> 2, at = (lane * 4) + (k & 3);
        int nibble = layout is CodeLayout.Bytes or CodeLayout.Pairs or CodeLayout.PairsHigh1 ? 0 : codes[((k4 & 3) * 64) + at] >> (4 * (k4 >> 2)) & 15;
        return layout switch
        {
            CodeLayout.Bytes => codes[(k4 * 64) + at],
            CodeLayout.Nibbles => (byte)nibble,
            CodeLayout.NibbleTable => (byte)(GgmlBlock.NonLinear4[nibble] + 128),
            CodeLayout.NibblesHigh1 => (byte)(nibble | (codes[256 + at] >> k4 & 1) << 4),
            CodeLayout.NibblesHigh2 => (byte)(nibble | (codes[256 + (((k4 & 3) >> 1) * 64) + at] >> High2Shift(k4) & 3) << 4),
            CodeLayout.Pairs => (byte)(codes[((k4 >> 2) * 64) + at] >> (2 * (k4 & 3)) & 3),
            CodeLayout.PairsHigh1 => (byte)((codes[((k4 >> 2) * 64) + at] >> (2 * (k4 & 3)) & 3) | (codes[128 + at] >> k4 & 1) << 2),
            _ => throw new ArgumentOutOfRangeException(nameof(layout), layout, "float panels hold no codes"),
        };
    }

    /// <summary>Stores a six-bit number in a zeroed table of 192 bytes.</summary>
    public static void PutSixBit(byte* table, int index, int value)
    {
        if (index < 192)
        {
            table[index] |= (byte)value;
            return;
        }
        for (int part = 0; part < 3; part++)
            table[(64 * part) + index - 192] |= (byte)((value >> (2 * part) & 3) << 6);
    }

    /// <summary>A six-bit number.</summary>
    public static int GetSixBit(byte* table, int index)
    {
        if (index < 192)
            return table[index] & 63;
        byte* top = table + index - 192;
        return top[0] >> 6 | top[64] >> 6 << 2 | top[128] >> 6 << 4;
    }

    /// <summary>Scales and minima of a block as the arithmetic uses them; minima carry the file's sign (positive where the format subtracts them).</summary>
    public static void Scales(PanelFormat format, byte* unit, int block, int lane, out float scale0, out float scale1, out float min0, out float min1)
    {
        float d = (float)((Half*)unit)[lane];
        float dmin = format.HasMinimum ? (float)((Half*)(unit + PanelFormat.MinimumOffset))[lane] : 0;
        byte* table = unit + format.SixBitOffset;
        byte* inline = unit + format.HeaderBytes + (block * format.BlockBytes);
        int even = (2 * block * 16) + lane, odd = even + 16;
        switch (format.Scales)
        {
            case ScaleLayout.Block:
                (scale0, min0) = (d, dmin);
                break;
            case ScaleLayout.SixBit when format.HasMinimum:
                (scale0, min0) = (d * GetSixBit(table, even), dmin * GetSixBit(table, odd));
                break;
            case ScaleLayout.SixBit:
                (scale0, scale1) = (d * (GetSixBit(table, even) - 32), d * (GetSixBit(table, odd) - 32));
                (min0, min1) = (0, 0);
                return;
            case ScaleLayout.Bytes:
                (scale0, scale1) = (d * (sbyte)inline[lane], d * (sbyte)inline[16 + lane]);
                (min0, min1) = (0, 0);
                return;
            case ScaleLayout.Nibbles:
                (scale0, scale1) = (d * (inline[lane] & 15), d * (inline[16 + lane] & 15));
                (min0, min1) = (dmin * (inline[lane] >> 4), dmin * (inline[16 + lane] >> 4));
                return;
            default:
                throw new ArgumentOutOfRangeException(nameof(format), format.Format, "float panels hold no scales");
        }
        (scale1, min1) = (scale0, min0);
    }

    /// <summary>The value of a weight: one rounding, as the file format defines it.</summary>
    public static float Value(PanelFormat format, int code, float scale, float min)
    {
        if (!format.HasMinimum)
            return scale * (code - format.Bias);
        // The product is exact (at most 21 bits), so that a fused multiply-add would round alike.
        return format.SubtractsMinimum ? (scale * code) - min : (scale * code) + min;
    }

    private static int High2Shift(int k4) => 2 * ((k4 & 1) + (2 * (k4 >> 2)));
}
