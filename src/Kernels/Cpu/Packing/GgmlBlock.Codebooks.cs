using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>The formats of codebooks, of three values, and of 8-bit factors.</summary>
internal unsafe partial struct GgmlBlock
{
    private const ulong Ones = 0x0101010101010101;
    private static readonly ulong[] s_twoBitXxs = Spread(CodebookGrids.TwoBitXxs, 2), s_twoBitXs = Spread(CodebookGrids.TwoBitXs, 2), s_twoBitS = Spread(CodebookGrids.TwoBitS, 2);
    private static readonly ulong[] s_threeBitXxs = Spread(CodebookGrids.ThreeBitXxs, 3), s_threeBitS = Spread(CodebookGrids.ThreeBitS, 3), s_oneBit = Spread(CodebookGrids.OneBit, 2);
    private static readonly ulong[] s_signs = [.. Enumerable.Range(0, 256).Select(bits => Enumerable.Range(0, 8).Aggregate(0ul, (bytes, i) => bytes | ((ulong)(bits >> i) & 1) << ((8 * i) + 3)))];

    /// <summary>An entry's levels, a byte each.</summary>
    private static ulong[] Spread(ReadOnlySpan<ushort> grid, int bits)
    {
        ulong[] spread = new ulong[grid.Length];
        for (int i = 0; i < spread.Length; i++)
            for (int j = 0; j * bits < 16; j++)
                spread[i] |= (ulong)(grid[i] >> (j * bits) & ((1 << bits) - 1)) << (8 * j);
        return spread;
    }

    /// <summary>Eight indices.</summary>
    private void Put(int group, ulong indices) => Unsafe.WriteUnaligned(ref Codes[8 * group], indices);

    /// <summary>Seven signs and the eighth that makes their number even.</summary>
    private static ulong EvenSigns(int bits) => s_signs[bits | (BitOperations.PopCount((uint)bits) & 1) << 7];

    private static ulong Two(ulong[] grid, int first, int second) => (uint)grid[first] | grid[second] << 32;

    // d | scales_h u16 | scales_l[4] | qs[128]
    private void ReadIq4Xs(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        Scale0 = ((source[4 + (part / 2)] >> (4 * (part & 1)) & 15) | (Half16(source, 2) >> (2 * part) & 3) << 4) - 32;
        ReadNibbles(source[(8 + (16 * part))..]);
    }

    // d | 8 × (4 codes, then 4 × 7 signs and 4 bits of scale)
    private void ReadIq2Xxs(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        ReadOnlySpan<byte> codes = source.Slice(2 + (8 * part), 8);
        uint signs = BinaryPrimitives.ReadUInt32LittleEndian(codes[4..]);
        Scale0 = (int)(2 * (signs >> 28)) + 1;
        for (int i = 0; i < 4; i++)
            Put(i, s_twoBitXxs[codes[i]] | EvenSigns((int)(signs >> (7 * i)) & 127));
    }

    // d | 32 × (9 bits of code, 7 signs) | 8 × two scales of 4 bits
    private void ReadIq2Xs(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        (Scale0, Scale1) = ((2 * (source[66 + part] & 15)) + 1, (2 * (source[66 + part] >> 4)) + 1);
        for (int i = 0; i < 4; i++)
        {
            int code = Half16(source, 2 + (8 * part) + (2 * i));
            Put(i, s_twoBitXs[code & 511] | EvenSigns(code >> 9));
        }
    }

    // d | 32 low bytes of codes | 32 × 8 signs | 8 × four pairs of high bits | 8 × two scales of 4 bits
    private void ReadIq2S(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        (Scale0, Scale1) = ((2 * (source[74 + part] & 15)) + 1, (2 * (source[74 + part] >> 4)) + 1);
        for (int i = 0; i < 4; i++)
            Put(i, s_twoBitS[source[2 + (4 * part) + i] | (source[66 + part] >> (2 * i) & 3) << 8] | s_signs[source[34 + (4 * part) + i]]);
    }

    // d | 64 codes | 8 × (4 × 7 signs and 4 bits of scale)
    private void ReadIq3Xxs(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        ReadOnlySpan<byte> codes = source.Slice(2 + (8 * part), 8);
        uint signs = BinaryPrimitives.ReadUInt32LittleEndian(source[(66 + (4 * part))..]);
        Scale0 = (int)(2 * (signs >> 28)) + 1;
        for (int i = 0; i < 4; i++)
            Put(i, Two(s_threeBitXxs, codes[2 * i], codes[(2 * i) + 1]) | EvenSigns((int)(signs >> (7 * i)) & 127));
    }

    // d | 64 low bytes of codes | 8 × eight ninth bits | 32 × 8 signs | 4 × two scales of 4 bits
    private void ReadIq3S(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        ReadOnlySpan<byte> codes = source.Slice(2 + (8 * part), 8);
        int ninth = source[66 + part];
        Scale0 = (2 * (source[106 + (part / 2)] >> (4 * (part & 1)) & 15)) + 1;
        for (int i = 0; i < 4; i++)
        {
            int first = codes[2 * i] | (ninth >> (2 * i) & 1) << 8, second = codes[(2 * i) + 1] | (ninth >> ((2 * i) + 1) & 1) << 8;
            Put(i, Two(s_threeBitS, first, second) | s_signs[source[74 + (4 * part) + i]]);
        }
    }

    // d | 32 low bytes of codes | 8 × (four times three high bits, 3 bits of scale, which way the values are shifted)
    private void ReadIq1S(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        int high = Half16(source, 34 + (2 * part));
        Scale0 = (2 * (high >> 12 & 7)) + 1;
        for (int i = 0; i < 4; i++)
            Put(i, s_oneBit[source[2 + (4 * part) + i] | (high >> (3 * i) & 7) << 8] | ((high & 0x8000) != 0 ? Ones << 3 : 0));
    }

    // 32 low bytes of codes | 16 × two of (three high bits, which way) | 4 × (four scales of 3 bits, a quarter of d)
    private void ReadIq1M(ReadOnlySpan<byte> source, int part)
    {
        D = (ushort)(Half16(source, 48) >> 12 | Half16(source, 50) >> 12 << 4 | Half16(source, 52) >> 12 << 8 | Half16(source, 54) >> 12 << 12);
        int scales = Half16(source, 48 + (part / 2 * 2)) >> (6 * (part & 1));
        (Scale0, Scale1) = ((2 * (scales & 7)) + 1, (2 * (scales >> 3 & 7)) + 1);
        for (int i = 0; i < 4; i++)
        {
            int high = source[32 + (2 * part) + (i / 2)] >> (4 * (i & 1));
            Put(i, s_oneBit[source[(4 * part) + i] | (high & 7) << 8] | ((high & 8) != 0 ? Ones << 3 : 0));
        }
    }

    // qs[48] and qh[4] of base 3, scaled so that a multiplication by 3 carries a digit out | d. 32 bytes give five times 32 values, 16 five times 16, 4 four times 4.
    private void ReadTq1(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 52);
        for (int i = 0; i < 32; i++)
        {
            int at = (32 * part) + i;
            (int from, int digit) = at < 160 ? (at % 32, at / 32) : at < 240 ? (32 + ((at - 160) % 16), (at - 160) / 16) : (48 + ((at - 240) % 4), (at - 240) / 4);
            int shifted = source[from] * (digit switch { 0 => 1, 1 => 3, 2 => 9, 3 => 27, _ => 81 }) & 255;
            Codes[i] = (byte)(shifted * 3 >> 8);
        }
    }

    // qs[64] | d
    private void ReadTq2(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 64);
        Set(Bits(Load(source, part / 4 * 32), 2 * (part & 3), 3));
    }

    // d | a bit each
    private void ReadQ1(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        for (int i = 0; i < 32; i++)
            Codes[i] = (byte)((source[2 + (4 * part) + (i / 8)] >> (i % 8) & 1) * 2);
    }

    // d | two bits each
    private void ReadQ2(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        for (int i = 0; i < 32; i++)
            Codes[i] = (byte)(source[2 + (8 * part) + (i / 4)] >> (2 * (i % 4)) & 3);
    }

    // 4 × E4M3 | 4 × 8 bytes: low nibbles, then high ones. 0x7F is no number and read as 0.
    private void ReadNvfp4(ReadOnlySpan<byte> source, int part)
    {
        (Scale0, Scale1) = (Factor(source[2 * part]), Factor(source[(2 * part) + 1]));
        for (int half = 0; half < 2; half++)
        {
            ulong pairs = BinaryPrimitives.ReadUInt64LittleEndian(source[(4 + (16 * part) + (8 * half))..]);
            Put(2 * half, pairs & (Ones * 15));
            Put((2 * half) + 1, pairs >> 4 & (Ones * 15));
        }

        static int Factor(byte bits) => bits == 0x7F ? 0 : bits & 0x7F;
    }

    // A scale of any width, a zero, codes
    private void ReadInt4(ReadOnlySpan<byte> source)
    {
        D = Half16(source, 0);
        Min0 = source[2];
        ReadNibbles(source[3..]);
    }

    // binary32 scale | bytes. Integers become unsigned, + 128.
    private void ReadBytes(ReadOnlySpan<byte> source, int part, byte flip)
    {
        Single = BinaryPrimitives.ReadUInt32LittleEndian(source);
        Set(Vector256.Create(source.Slice(4 + (32 * part), 32)) ^ Vector256.Create(flip));
    }
}
