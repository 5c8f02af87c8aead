using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels;

namespace TpServe.Collectives;

/// <summary>What a row of partial sums looks like on a wire narrower than float32, and back.</summary>
/// <remarks>
/// Shapes   rows one after the other. bf16: 2 bytes an element. q8: blocks of 32 elements, the last of a row with those that are left: a binary16 scale, then 32
///          codes, of which a shorter block leaves the last at zero.
/// Numerics bf16: to nearest even; a NaN stays one. q8: <see cref="Q8Block"/>. An element's bits depend on its row's block alone, never on what else is sent;
///          vectors and their absence give the same.
/// </remarks>
internal static unsafe class WireCodec
{
    /// <summary>Columns at which a row may be cut without changing a bit.</summary>
    public const int BlockColumns = Q8Block.Elements;

    /// <summary>Bytes of so many consecutive elements of a row.</summary>
    public static int Bytes(WireFormat wire, int columns) => wire switch
    {
        WireFormat.BFloat16 => columns * sizeof(ushort),
        WireFormat.Q8 => (columns + Q8Block.Elements - 1) / Q8Block.Elements * Q8Block.Bytes,
        _ => columns * sizeof(float),
    };

    /// <summary>Rounds consecutive elements of one row.</summary>
    public static void Encode(WireFormat wire, float* row, int columns, byte* to)
    {
        if (wire == WireFormat.BFloat16)
            EncodeUpperHalves(row, columns, (ushort*)to);
        else
            EncodeBlocks(row, columns, to);
    }

    /// <summary>What everyone takes them for.</summary>
    public static void Decode(WireFormat wire, byte* from, int columns, float* row)
    {
        if (wire == WireFormat.BFloat16)
            DecodeUpperHalves((ushort*)from, columns, row);
        else
            DecodeBlocks(from, columns, row);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EncodeUpperHalves(float* row, int columns, ushort* to)
    {
        int i = 0;
        for (; i <= columns - 16; i += 16)
            Vector256.Narrow(UpperHalves(Vector256.Load(row + i)), UpperHalves(Vector256.Load(row + i + 8))).Store(to + i);
        for (; i < columns; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(row[i]);
            to[i] = (ushort)(float.IsNaN(row[i]) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
        }
    }

    private static Vector256<uint> UpperHalves(Vector256<float> x)
    {
        Vector256<uint> bits = x.AsUInt32(), upper = bits >>> 16;
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + (upper & Vector256<uint>.One)) >>> 16;
        return Vector256.ConditionalSelect(Vector256.Equals(x, x).AsUInt32(), rounded, upper | Vector256.Create(0x40u));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DecodeUpperHalves(ushort* from, int columns, float* row)
    {
        int i = 0;
        for (; i <= columns - 16; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load(from + i));
            (low << 16).AsSingle().Store(row + i);
            (high << 16).AsSingle().Store(row + i + 8);
        }
        for (; i < columns; i++)
            row[i] = BitConverter.UInt32BitsToSingle((uint)from[i] << 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EncodeBlocks(float* row, int columns, byte* to)
    {
        int i = 0;
        for (; i <= columns - Q8Block.Elements; i += Q8Block.Elements, to += Q8Block.Bytes)
            Unsafe.WriteUnaligned(to, EncodeBlock(row + i, (sbyte*)(to + Q8Block.ScaleBytes)));
        if (i == columns)
            return;
        Span<sbyte> codes = new(to + Q8Block.ScaleBytes, Q8Block.Elements);
        codes.Clear();
        Unsafe.WriteUnaligned(to, Q8Block.Quantize(new ReadOnlySpan<float>(row + i, columns - i), codes));
    }

    /// <summary>A whole block as <see cref="Q8Block.Quantize"/> has it.</summary>
    private static Half EncodeBlock(float* block, sbyte* codes)
    {
        Vector256<float> a = Vector256.Load(block), b = Vector256.Load(block + 8), c = Vector256.Load(block + 16), d = Vector256.Load(block + 24);
        // Max of vectors hands a NaN on, as Math.Max does; an infinity is the largest.
        Vector256<float> most = Vector256.Max(Vector256.Max(Vector256.Abs(a), Vector256.Abs(b)), Vector256.Max(Vector256.Abs(c), Vector256.Abs(d)));
        float largest = most[0];
        for (int lane = 1; lane < Vector256<float>.Count; lane++)
            largest = MathF.Max(largest, most[lane]);
        Half scale = Q8Block.Scale(largest);
        if (!Q8Block.HasCodes(scale))
        {
            Vector256<sbyte>.Zero.Store(codes);
            return scale;
        }
        Vector256<float> divisor = Vector256.Create((float)scale);
        Vector256.Narrow(Vector256.Narrow(Codes(a, divisor), Codes(b, divisor)), Vector256.Narrow(Codes(c, divisor), Codes(d, divisor))).Store(codes);
        return scale;
    }

    private static Vector256<int> Codes(Vector256<float> x, Vector256<float> divisor) =>
        Vector256.ConvertToInt32(Vector256.Min(Vector256.Max(Vector256.Round(x / divisor), Vector256.Create(-127f)), Vector256.Create(127f)));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DecodeBlocks(byte* from, int columns, float* row)
    {
        int i = 0;
        for (; i <= columns - Q8Block.Elements; i += Q8Block.Elements, from += Q8Block.Bytes)
        {
            Vector256<float> scale = Vector256.Create((float)MemoryMarshal.Read<Half>(new ReadOnlySpan<byte>(from, Q8Block.ScaleBytes)));
            (Vector256<short> first, Vector256<short> last) = Vector256.Widen(Vector256.Load((sbyte*)(from + Q8Block.ScaleBytes)));
            (Vector256<int> a, Vector256<int> b) = Vector256.Widen(first);
            (Vector256<int> c, Vector256<int> d) = Vector256.Widen(last);
            (Vector256.ConvertToSingle(a) * scale).Store(row + i);
            (Vector256.ConvertToSingle(b) * scale).Store(row + i + 8);
            (Vector256.ConvertToSingle(c) * scale).Store(row + i + 16);
            (Vector256.ConvertToSingle(d) * scale).Store(row + i + 24);
        }
        if (i == columns)
            return;
        float rest = (float)MemoryMarshal.Read<Half>(new ReadOnlySpan<byte>(from, Q8Block.ScaleBytes));
        for (sbyte* code = (sbyte*)(from + Q8Block.ScaleBytes); i < columns; i++, code++)
            row[i] = *code * rest;
    }
}
