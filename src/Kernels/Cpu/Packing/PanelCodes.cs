namespace TpServe.Kernels.Cpu.Packing;

/// <summary>Single codes and scales of a panel by plain arithmetic: what embeddings are read with and every faster decoder is tested against.</summary>
internal static unsafe class PanelCodes
{
    /// <summary>The unsigned code of an input and an output (of an index the table's value + bias).</summary>
    public static byte Get(PanelFormat format, byte* codes, int k, int lane)
    {
        CodeLayout layout = format.Codes;
        int k4 = k >> 2, at = (lane * 4) + (k & 3);
        int nibble = layout is CodeLayout.Bytes or CodeLayout.Float8 or CodeLayout.Pairs or CodeLayout.PairsHigh1 ? 0 : codes[((k4 & 3) * 64) + at] >> (4 * (k4 >> 2)) & 15;
        return layout switch
        {
            CodeLayout.Bytes or CodeLayout.Float8 => codes[(k4 * 64) + at],
            CodeLayout.Nibbles => (byte)nibble,
            CodeLayout.NibbleTable => (byte)(format.Table[nibble] + format.Bias),
            CodeLayout.NibblesHigh1 => (byte)(nibble | (codes[256 + at] >> k4 & 1) << 4),
            CodeLayout.NibblesHigh2 => (byte)(nibble | (codes[256 + (((k4 & 3) >> 1) * 64) + at] >> High2Shift(k4) & 3) << 4),
            CodeLayout.Pairs => (byte)(codes[((k4 >> 2) * 64) + at] >> (2 * (k4 & 3)) & 3),
            CodeLayout.PairsHigh1 => (byte)((codes[((k4 >> 2) * 64) + at] >> (2 * (k4 & 3)) & 3) | (codes[128 + at] >> k4 & 1) << 2),
            _ => throw new ArgumentOutOfRangeException(nameof(format), layout, "float panels hold no codes"),
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
        float d = format.Scales is ScaleLayout.Single or ScaleLayout.Exponent or ScaleLayout.Float8 ? 0 : (float)((Half*)unit)[lane];
        float dmin = format.HasMinimum && format.LaneFields[1].Bytes == 2 ? (float)((Half*)(unit + PanelFormat.MinimumOffset))[lane] : 0;
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
                scale0 = d * (sbyte)inline[lane] * format.Factor;
                scale1 = format.Halves == 2 ? d * (sbyte)inline[16 + lane] * format.Factor : scale0;
                (min0, min1) = (0, 0);
                return;
            case ScaleLayout.Exponent:
                (scale0, min0) = (MathF.ScaleB(1f, unit[lane] - 128), 0);
                break;
            case ScaleLayout.Float8:
                (scale0, scale1) = (FromFloat8(inline[lane]) * 0.5f, FromFloat8(inline[16 + lane]) * 0.5f);
                (min0, min1) = (0, 0);
                return;
            case ScaleLayout.Zero:
                (scale0, min0) = (d, d * unit[PanelFormat.MinimumOffset + lane]);
                break;
            case ScaleLayout.BFloatZero:
                d = BitConverter.UInt32BitsToSingle((uint)((ushort*)unit)[lane] << 16);
                (scale0, min0) = (d, d * unit[PanelFormat.MinimumOffset + lane]);
                break;
            case ScaleLayout.Single:
                (scale0, min0) = (((float*)unit)[lane], 0);
                break;
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
        if (format.Codes == CodeLayout.Float8)
            return scale * FromFloat8((byte)code);
        if (!format.HasMinimum)
            return scale * (code - format.Bias);
        // The product is exact (at most 21 bits), so that a fused multiply-add would round alike.
        return format.SubtractsMinimum ? (scale * code) - min : (scale * code) + min;
    }

    /// <summary>An 8-bit float of four exponent and three mantissa bits, exactly. Sign and bits stand where binary32 has them, the exponent 120 too low.</summary>
    private static float FromFloat8(byte bits) => BitConverter.UInt32BitsToSingle((uint)((bits & 0x80) << 24 | (bits & 0x7F) << 20)) * 1.329227995784916e36f; // 2^120

    private static int High2Shift(int k4) => 2 * ((k4 & 1) + (2 * (k4 >> 2)));
}
