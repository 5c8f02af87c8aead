using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>Decodes a block of a panel with AVX2: what both intrinsic paths work from.</summary>
/// <remarks>Oracle   <see cref="ScalarMath"/>: every code, scale and value is exact, so both give the same bits.</remarks>
internal static unsafe class VectorDecode
{
    /// <summary>Codes, scales and minima of a block.</summary>
    public static void Block(PanelFormat format, byte* unit, int block, DecodedBlock* decoded)
    {
        byte* inline = unit + format.HeaderBytes + (block * format.BlockBytes);
        Codes(format, inline + format.BlockScaleBytes, decoded->Codes);
        Scales(format, unit, block, inline, decoded);
    }

    /// <summary>Exact float32 weights of a decoded block, [32, 16].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Values(PanelFormat format, DecodedBlock* decoded, float* values)
    {
        Vector256<int> bias = Vector256.Create(format.Bias), low = Vector256.Create(0xFF);
        for (int k = 0; k < 32; k++)
        {
            float* scales = k < 16 ? decoded->Scale0 : decoded->Scale1, minima = k < 16 ? decoded->Min0 : decoded->Min1;
            for (int lane = 0; lane < 16; lane += 8)
            {
                Vector256<int> dwords = Vector256.Load((int*)(decoded->Codes + ((k >> 2) * 64) + (lane * 4)));
                Vector256<int> codes = (Vector256.ShiftRightLogical(dwords, 8 * (k & 3)) & low) - bias;
                Vector256<float> value = Vector256.ConvertToSingle(codes) * Vector256.Load(scales + lane);
                if (format.HasMinimum)
                    value = format.SubtractsMinimum ? value - Vector256.Load(minima + lane) : value + Vector256.Load(minima + lane);
                value.Store(values + (k * 16) + lane);
            }
        }
    }

    /// <summary>Exact float32 weights of a block of halves, [32, 32].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(CodeLayout layout, byte* codes, float* values)
    {
        if (layout == CodeLayout.Float16)
        {
            for (int i = 0; i < 1024; i += 8)
                FromHalf(Vector128.Load((ushort*)codes + i)).Store(values + i);
            return;
        }
        Vector256<uint> upper = Vector256.Create(0xFFFF0000u);
        for (int pair = 0; pair < 16; pair++)
        {
            for (int lane = 0; lane < 32; lane += 8)
            {
                Vector256<uint> dwords = Vector256.Load((uint*)codes + (pair * 32) + lane);
                (dwords << 16).AsSingle().Store(values + (pair * 64) + lane);
                (dwords & upper).AsSingle().Store(values + (pair * 64) + 32 + lane);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Codes(PanelFormat format, byte* source, byte* codes)
    {
        Vector256<byte> table = Vector256.Create(Vector128.LoadUnsafe(ref GgmlBlock.NonLinear4[0]), Vector128.LoadUnsafe(ref GgmlBlock.NonLinear4[0])).AsByte() + Vector256.Create((byte)128);
        foreach (CodeStep step in format.Steps)
        {
            Vector256<byte> lowMask = Vector256.Create((byte)step.LowMask), highMask = Vector256.Create((byte)step.HighMask);
            for (int part = 0; part < 64; part += 32)
            {
                Vector256<ushort> low = Vector256.Load((ushort*)(source + (64 * step.Low) + part));
                Vector256<byte> code = Vector256.ShiftRightLogical(low, step.LowShift).AsByte() & lowMask;
                if (step.High >= 0)
                {
                    Vector256<ushort> high = Vector256.Load((ushort*)(source + (64 * step.High) + part));
                    high = step.HighShift >= 0 ? Vector256.ShiftLeft(high, step.HighShift) : Vector256.ShiftRightLogical(high, -step.HighShift);
                    code |= high.AsByte() & highMask;
                }
                if (format.Codes == CodeLayout.NibbleTable)
                    code = Avx2.Shuffle(table, code);
                code.Store(codes + (64 * step.K4) + part);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scales(PanelFormat format, byte* unit, int block, byte* inline, DecodedBlock* decoded)
    {
        if (format.Scales == ScaleLayout.Block)
        {
            for (int lane = 0; lane < 16; lane += 8)
            {
                FromHalf(Vector128.Load((ushort*)unit + lane)).Store(decoded->Scale0 + lane);
                if (format.HasMinimum)
                    FromHalf(Vector128.Load((ushort*)(unit + PanelFormat.MinimumOffset) + lane)).Store(decoded->Min0 + lane);
            }
            // Values reads both halves; integer products of these formats only the first.
            Unsafe.CopyBlock(decoded->Scale1, decoded->Scale0, 64);
            Unsafe.CopyBlock(decoded->Min1, decoded->Min0, 64);
            return;
        }
        byte* table = unit + format.SixBitOffset;
        switch (format.Scales)
        {
            case ScaleLayout.SixBit when format.HasMinimum:
                Multiply(unit, SixBit(table, 2 * block), decoded->Scale0);
                Multiply(unit + PanelFormat.MinimumOffset, SixBit(table, (2 * block) + 1), decoded->Min0);
                Unsafe.CopyBlock(decoded->Scale1, decoded->Scale0, 64);
                Unsafe.CopyBlock(decoded->Min1, decoded->Min0, 64);
                break;
            case ScaleLayout.SixBit:
                Multiply(unit, SixBit(table, 2 * block) - Vector128.Create((sbyte)32), decoded->Scale0);
                Multiply(unit, SixBit(table, (2 * block) + 1) - Vector128.Create((sbyte)32), decoded->Scale1);
                break;
            case ScaleLayout.Bytes:
                Multiply(unit, Vector128.Load((sbyte*)inline), decoded->Scale0);
                Multiply(unit, Vector128.Load((sbyte*)inline + 16), decoded->Scale1);
                break;
            default:
                Vector128<byte> nibble = Vector128.Create((byte)15);
                for (int half = 0; half < 2; half++)
                {
                    Vector128<byte> packed = Vector128.Load(inline + (16 * half));
                    Multiply(unit, (packed & nibble).AsSByte(), half == 0 ? decoded->Scale0 : decoded->Scale1);
                    Multiply(unit + PanelFormat.MinimumOffset, ((packed.AsUInt16() >> 4).AsByte() & nibble).AsSByte(), half == 0 ? decoded->Min0 : decoded->Min1);
                }
                break;
        }
    }

    /// <summary>Sixteen six-bit numbers: row of the table that PanelCodes.GetSixBit reads one by one.</summary>
    private static Vector128<sbyte> SixBit(byte* table, int row)
    {
        if (row < 12)
            return (Vector128.Load(table + (16 * row)) & Vector128.Create((byte)63)).AsSByte();
        byte* top = table + (16 * (row - 12));
        Vector128<ushort> a = Vector128.Load((ushort*)top) >> 6, b = Vector128.Load((ushort*)(top + 64)) >> 4, c = Vector128.Load((ushort*)(top + 128)) >> 2;
        return ((a.AsByte() & Vector128.Create((byte)3)) | (b.AsByte() & Vector128.Create((byte)12)) | (c.AsByte() & Vector128.Create((byte)48))).AsSByte();
    }

    private static void Multiply(byte* halves, Vector128<sbyte> integers, float* products)
    {
        Vector256<int> low = Avx2.ConvertToVector256Int32(integers), high = Avx2.ConvertToVector256Int32(Sse2.ShiftRightLogical128BitLane(integers, 8));
        (FromHalf(Vector128.Load((ushort*)halves)) * Vector256.ConvertToSingle(low)).Store(products);
        (FromHalf(Vector128.Load((ushort*)halves + 8)) * Vector256.ConvertToSingle(high)).Store(products + 8);
    }

    // Exponent and mantissa moved into a float32 and scaled by 2^112, which is exact and normalises subnormal halves.
    private static Vector256<float> FromHalf(Vector128<ushort> halves)
    {
        Vector256<int> bits = Avx2.ConvertToVector256Int32(halves);
        Vector256<int> magnitude = bits & Vector256.Create(0x7FFF), sign = (bits & Vector256.Create(0x8000)) << 16;
        Vector256<int> scaled = ((magnitude << 13).AsSingle() * Vector256.Create(5.192296858534828e33f)).AsInt32();
        Vector256<int> special = (magnitude << 13) | Vector256.Create(0x7F800000);
        return (Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create(0x7BFF)), special, scaled) | sign).AsSingle();
    }
}
