using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>PanelCall.Scratch of quantised panels.</summary>
internal unsafe struct NeonBlock
{
    /// <summary>Decoded codes: <see cref="DecodedCodes{TCodes}"/>.</summary>
    public fixed byte Codes[512];

    /// <summary>d of the unit.</summary>
    public fixed float D[16];

    /// <summary>dmin of the unit.</summary>
    public fixed float DMin[16];

    /// <summary>Scales of inputs 0..15, or of all 32.</summary>
    public fixed float Scale0[16];

    /// <summary>Scales of inputs 16..31 where a block has two.</summary>
    public fixed float Scale1[16];

    /// <summary>Minima of inputs 0..15, or of all 32, with the file's sign.</summary>
    public fixed float Min0[16];

    /// <summary>Minima of inputs 16..31 where a block has two.</summary>
    public fixed float Min1[16];

    /// <summary>Four rows of scaled sums of inputs 0..15.</summary>
    public fixed float FirstHalf[64];
}

/// <summary>Scales and minima of a panel's blocks.</summary>
/// <remarks>Oracle   PanelCodes.Scales, to the bit: products of a half float and an integer are exact.</remarks>
internal static unsafe class NeonScales
{
    /// <summary>d and dmin of a unit; they are all there is where each block is a unit.</summary>
    [MethodImpl(NeonKernel.Hot)]
    public static void BeginUnit(PanelFormat format, byte* unit, NeonBlock* block)
    {
        switch (format.Scales)
        {
            case ScaleLayout.Float8:
                return;
            case ScaleLayout.Single:
                new ReadOnlySpan<float>(unit, 16).CopyTo(new Span<float>(block->Scale0, 16));
                return;
            case ScaleLayout.Exponent:
                Exponents(unit, block->Scale0);
                return;
            case ScaleLayout.Zero or ScaleLayout.BFloatZero:
                for (int lane = 0; lane < 16; lane += 4)
                    (format.Scales == ScaleLayout.Zero ? Widen((short*)unit + lane) : Shifted((short*)unit + lane)).Store(block->Scale0 + lane);
                Multiply(Vector128.Load((sbyte*)unit + PanelFormat.MinimumOffset), block->Scale0, block->Min0); // zeros are 16 at most
                return;
            default:
                break;
        }
        bool isAll = format.Scales == ScaleLayout.Block;
        float* scales = isAll ? block->Scale0 : block->D, minima = isAll ? block->Min0 : block->DMin;
        for (int lane = 0; lane < 16; lane += 4)
        {
            Widen((short*)unit + lane).Store(scales + lane);
            if (format.HasMinimum)
                Widen((short*)(unit + PanelFormat.MinimumOffset) + lane).Store(minima + lane);
        }
    }

    /// <summary>The scales and minima of one of several blocks of a unit.</summary>
    [MethodImpl(NeonKernel.Hot)]
    public static void Read(PanelFormat format, byte* unit, int index, NeonBlock* block)
    {
        byte* table = unit + format.SixBitOffset, inline = unit + format.HeaderBytes + (index * format.BlockBytes);
        switch (format.Scales)
        {
            case ScaleLayout.SixBit when format.HasMinimum:
                Multiply(SixBits(table, 32 * index).AsSByte(), block->D, block->Scale0);
                Multiply(SixBits(table, (32 * index) + 16).AsSByte(), block->DMin, block->Min0);
                break;
            case ScaleLayout.SixBit:
                Multiply(SixBits(table, 32 * index).AsSByte() - Vector128.Create((sbyte)32), block->D, block->Scale0);
                Multiply(SixBits(table, (32 * index) + 16).AsSByte() - Vector128.Create((sbyte)32), block->D, block->Scale1);
                break;
            case ScaleLayout.Bytes:
                Multiply(Vector128.Load((sbyte*)inline), block->D, block->Scale0, format.Factor);
                if (format.Halves == 2)
                    Multiply(Vector128.Load((sbyte*)inline + 16), block->D, block->Scale1, format.Factor);
                break;
            case ScaleLayout.Float8:
                Floats8(Vector128.Load(inline), block->Scale0);
                Floats8(Vector128.Load(inline + 16), block->Scale1);
                break;
            case ScaleLayout.Nibbles:
                Vector128<byte> first = Vector128.Load(inline), second = Vector128.Load(inline + 16), low = Vector128.Create((byte)15);
                Multiply((first & low).AsSByte(), block->D, block->Scale0);
                Multiply((second & low).AsSByte(), block->D, block->Scale1);
                Multiply((first >>> 4).AsSByte(), block->DMin, block->Min0);
                Multiply((second >>> 4).AsSByte(), block->DMin, block->Min1);
                break;
            default:
                break; // BeginUnit has read them
        }
    }

    /// <summary>Four binary16 as binary32, exactly.</summary>
    /// <remarks>
    /// Sign-extended and shifted, sign, exponent and mantissa stand where binary32 has them, the exponent 112 too low: an exact multiplication makes
    /// subnormals right too. The exponent of infinities and NaNs is set by hand.
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Widen(short* source)
    {
        Vector128<int> bits = AdvSimd.ShiftLeftLogicalWideningLower(Vector64.Load(source), 13) & Vector128.Create(unchecked((int)0x8FFFE000));
        Vector128<float> value = bits.AsSingle() * Vector128.Create(5.192296858534828e33f); // 2^112
        return value | (AdvSimd.AbsoluteCompareGreaterThanOrEqual(value, Vector128.Create(65536f)) & Vector128.Create(float.PositiveInfinity));
    }

    /// <summary>Sixteen of a unit's six-bit numbers; see <see cref="ScaleLayout.SixBit"/>.</summary>
    private static Vector128<byte> SixBits(byte* table, int number)
    {
        if (number < 192)
            return Vector128.Load(table + number) & Vector128.Create((byte)63);
        byte* top = table + number - 192;
        return Vector128.Load(top) >>> 6 | Vector128.Load(top + 64) >>> 6 << 2 | Vector128.Load(top + 128) >>> 6 << 4;
    }

    private static Vector128<float> Shifted(short* source) => (AdvSimd.ZeroExtendWideningLower(Vector64.Load((ushort*)source)) << 16).AsSingle();

    /// <summary>2^(e − 128): e where binary32 has it is twice that, but for e = 0, where a subnormal stands for it.</summary>
    private static void Exponents(byte* exponents, float* scales)
    {
        for (int lane = 0; lane < 16; lane++)
            scales[lane] = BitConverter.UInt32BitsToSingle(Math.Max((uint)exponents[lane] << 23, 0x00400000u)) * 0.5f;
    }

    /// <summary>Half of each E4M3, whose exponent is 120 too low where binary32 has its own.</summary>
    private static void Floats8(Vector128<byte> bits, float* scales)
    {
        for (int lane = 0; lane < 16; lane++)
            scales[lane] = BitConverter.UInt32BitsToSingle((uint)bits[lane] << 20) * 6.64613997892458e35f; // 2^119
    }

    private static void Multiply(Vector128<sbyte> numbers, float* factors, float* products, float power = 1f)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(numbers);
        Multiply(low, factors, products, power);
        Multiply(high, factors + 8, products + 8, power);
    }

    private static void Multiply(Vector128<short> numbers, float* factors, float* products, float power)
    {
        (Vector128<int> low, Vector128<int> high) = Vector128.Widen(numbers);
        (Vector128.ConvertToSingle(low) * Vector128.Load(factors) * power).Store(products);
        (Vector128.ConvertToSingle(high) * Vector128.Load(factors + 4) * power).Store(products + 4);
    }
}
