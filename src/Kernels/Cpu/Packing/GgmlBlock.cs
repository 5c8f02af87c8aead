using System.Buffers.Binary;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Cpu.Packing;

/// <summary>32 weights of one file row, taken apart: unsigned codes and the integers and halves that scale them. Exact for every format.</summary>
/// <remarks>Source   the block structures of GGML (ggml-common.h), as laid out in GGUF files.</remarks>
internal unsafe partial struct GgmlBlock
{
    /// <summary>Codes of inputs 0..31, or indices into the format's table.</summary>
    public fixed byte Codes[32];

    /// <summary>fp16 or bfloat16 scale.</summary>
    public ushort D;

    /// <summary>binary32 scale.</summary>
    public uint Single;

    /// <summary>fp16 minimum or scale of the minima.</summary>
    public ushort DMin;

    /// <summary>Integer scale of inputs 0..15, or of all; also an exponent, or the bits of an 8-bit float.</summary>
    public int Scale0;

    /// <summary>Integer scale of inputs 16..31.</summary>
    public int Scale1;

    /// <summary>Integer minimum of inputs 0..15, or of all; also a zero.</summary>
    public int Min0;

    /// <summary>Integer minimum of inputs 16..31.</summary>
    public int Min1;

    /// <summary>Reads 32-block <paramref name="block"/> of a row of quantised weights.</summary>
    public void Read(WeightFormat format, ReadOnlySpan<byte> row, int block)
    {
        int bytes = format.BlockBytes();
        int perBlock = format.BlockValues() / 32;
        ReadPart(format, row.Slice(block / perBlock * bytes, bytes), block % perBlock);
    }

    /// <summary>Reads the 32 weights <paramref name="part"/> of one block of the file.</summary>
    public void ReadPart(WeightFormat format, ReadOnlySpan<byte> source, int part)
    {
        switch (format)
        {
            case WeightFormat.Q8_0:
                D = Half16(source, 0);
                Set(Vector256.Create(source.Slice(2, 32)) ^ Vector256.Create((byte)0x80));
                break;
            case WeightFormat.Q4_0:
            case WeightFormat.IQ4_NL:
                D = Half16(source, 0);
                ReadNibbles(source[2..]);
                break;
            case WeightFormat.Q4_1:
                D = Half16(source, 0);
                DMin = Half16(source, 2);
                ReadNibbles(source[4..]);
                break;
            case WeightFormat.Q5_0:
                D = Half16(source, 0);
                ReadNibbles(source[6..]);
                AddFifthBits(BinaryPrimitives.ReadUInt32LittleEndian(source[2..]));
                break;
            case WeightFormat.Q5_1:
                D = Half16(source, 0);
                DMin = Half16(source, 2);
                ReadNibbles(source[8..]);
                AddFifthBits(BinaryPrimitives.ReadUInt32LittleEndian(source[4..]));
                break;
            case WeightFormat.Q2_K:
                ReadQ2K(source, part);
                break;
            case WeightFormat.Q3_K:
                ReadQ3K(source, part);
                break;
            case WeightFormat.Q4_K:
            case WeightFormat.Q5_K:
                ReadQ45K(format, source, part);
                break;
            case WeightFormat.Q6_K:
                ReadQ6K(source, part);
                break;
            case WeightFormat.MXFP4:
                Scale0 = source[0];
                ReadNibbles(source[1..]);
                break;
            case WeightFormat.IQ4_XS:
                ReadIq4Xs(source, part);
                break;
            case WeightFormat.IQ2_XXS:
                ReadIq2Xxs(source, part);
                break;
            case WeightFormat.IQ2_XS:
                ReadIq2Xs(source, part);
                break;
            case WeightFormat.IQ2_S:
                ReadIq2S(source, part);
                break;
            case WeightFormat.IQ3_XXS:
                ReadIq3Xxs(source, part);
                break;
            case WeightFormat.IQ3_S:
                ReadIq3S(source, part);
                break;
            case WeightFormat.IQ1_S:
                ReadIq1S(source, part);
                break;
            case WeightFormat.IQ1_M:
                ReadIq1M(source, part);
                break;
            case WeightFormat.TQ1_0:
                ReadTq1(source, part);
                break;
            case WeightFormat.TQ2_0:
                ReadTq2(source, part);
                break;
            case WeightFormat.Q1_0:
                ReadQ1(source, part);
                break;
            case WeightFormat.Q2_0:
                ReadQ2(source, part);
                break;
            case WeightFormat.NVFP4:
                ReadNvfp4(source, part);
                break;
            case WeightFormat.INT4_F16:
            case WeightFormat.INT4_BF16:
                ReadInt4(source);
                break;
            case WeightFormat.Q8_K:
            case WeightFormat.INT8:
                ReadBytes(source, part, 0x80);
                break;
            case WeightFormat.FP8:
                ReadBytes(source, part, 0);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(format), format, "not a quantised format");
        }
    }

    private static readonly Vector256<byte> s_byteOfBit = Vector256.Create(
        (byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);

    private static ushort Half16(ReadOnlySpan<byte> source, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(source[offset..]);

    private void ReadNibbles(ReadOnlySpan<byte> nibbles)
    {
        Vector128<byte> pairs = Vector128.Create(nibbles[..16]);
        Set(Bits(Vector256.Create(pairs, (pairs.AsUInt16() >> 4).AsByte()), 0, 15));
    }

    private void Set(Vector256<byte> codes)
    {
        fixed (byte* target = Codes)
            codes.Store(target);
    }

    /// <summary>(byte &gt;&gt; shift) &amp; mask for 32 bytes.</summary>
    private static Vector256<byte> Bits(Vector256<byte> bytes, int shift, byte mask) =>
        Vector256.ShiftRightLogical(bytes.AsUInt16(), shift).AsByte() & Vector256.Create(mask);

    private static Vector256<byte> Load(ReadOnlySpan<byte> source, int at) => Vector256.Create(source.Slice(at, 32));

    /// <summary>Bits at the lowest place moved to place <paramref name="place"/>.</summary>
    private static Vector256<byte> Place(Vector256<byte> bits, int place) => Vector256.ShiftLeft(bits.AsUInt16(), place).AsByte();

    private void AddFifthBits(uint bits)
    {
        // Byte i of the vector is the byte of bits that holds bit i; what of it is left tells whether the bit is set.
        Vector256<byte> place = Vector256.Create(0x8040201008040201).AsByte();
        Vector256<byte> spread = Vector256.Shuffle(Vector256.Create(bits).AsByte(), s_byteOfBit) & place;
        fixed (byte* codes = Codes)
            (Vector256.Load(codes) | (Vector256.Equals(spread, place) & Vector256.Create((byte)0x10))).Store(codes);
    }

    // scales[16] (scale | min << 4) | qs[64] | d | dmin
    private void ReadQ2K(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 80);
        DMin = Half16(source, 82);
        (Scale0, Min0) = (source[2 * part] & 15, source[2 * part] >> 4);
        (Scale1, Min1) = (source[2 * part + 1] & 15, source[2 * part + 1] >> 4);
        Set(Bits(Load(source, 16 + (part / 4 * 32)), 2 * (part & 3), 3));
    }

    // hmask[32] | qs[64] | scales[12] | d
    private void ReadQ3K(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 108);
        Scale0 = SixBitScale(source.Slice(96, 12), 2 * part) - 32;
        Scale1 = SixBitScale(source.Slice(96, 12), 2 * part + 1) - 32;
        Set(Bits(Load(source, 32 + (part / 4 * 32)), 2 * (part & 3), 3) | Place(Bits(Load(source, 0), part, 1), 2));
    }

    // 16 six-bit scales: low nibbles in bytes 0..7, high pairs in bytes 8..11
    private static int SixBitScale(ReadOnlySpan<byte> packed, int index)
    {
        int low = index < 8 ? packed[index] & 15 : packed[index - 8] >> 4;
        int high = packed[8 + (index & 3)] >> (2 * (index >> 2)) & 3;
        return low | high << 4;
    }

    // d | dmin | scales[12] | Q5_K: qh[32] | qs[128]
    private void ReadQ45K(WeightFormat format, ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 0);
        DMin = Half16(source, 2);
        ReadOnlySpan<byte> packed = source.Slice(4, 12);
        if (part < 4)
            (Scale0, Min0) = (packed[part] & 63, packed[part + 4] & 63);
        else
            (Scale0, Min0) = (packed[part + 4] & 15 | packed[part - 4] >> 6 << 4, packed[part + 4] >> 4 | packed[part] >> 6 << 4);
        bool fifth = format == WeightFormat.Q5_K;
        Vector256<byte> codes = Bits(Load(source, (fifth ? 48 : 16) + (part / 2 * 32)), 4 * (part & 1), 15);
        Set(fifth ? codes | Place(Bits(Load(source, 16), part, 1), 4) : codes);
    }

    // ql[128] | qh[64] | scales[16] | d
    private void ReadQ6K(ReadOnlySpan<byte> source, int part)
    {
        D = Half16(source, 208);
        int half = part >> 2, group = part & 3;
        Scale0 = (sbyte)source[192 + (8 * half) + (2 * group)];
        Scale1 = (sbyte)source[192 + (8 * half) + (2 * group) + 1];
        Vector256<byte> low = Bits(Load(source, (64 * half) + (32 * (group & 1))), group < 2 ? 0 : 4, 15);
        Set(low | Place(Bits(Load(source, 128 + (32 * half)), 2 * group, 3), 4));
    }
}
