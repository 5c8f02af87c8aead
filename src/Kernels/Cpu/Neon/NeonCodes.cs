using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu.Neon;

/// <summary>How a block's codes become signed bytes, sixteen at a time: inputs 4 · k4 to 4 · k4 + 3 of outputs 4 · v to 4 · v + 3.</summary>
/// <remarks>Numerics the inverse of <see cref="CodeStep"/>, one structure a <see cref="CodeLayout"/>: with constant k4 and v nothing of the layout is left at run time.</remarks>
internal unsafe interface INeonCodes
{
    /// <summary>True where the bias is taken off; else codes are unsigned, 63 at most, and what the bias adds stands in the activations.</summary>
    static abstract bool AreSigned { get; }

    /// <summary>Sixteen codes, the input changing fastest.</summary>
    static abstract Vector128<sbyte> At(byte* codes, int k4, int v);
}

/// <summary>Codes that <see cref="NeonKernel"/> has already taken out of <typeparamref name="TCodes"/>: eight vectors of 64 bytes.</summary>
internal readonly unsafe struct DecodedCodes<TCodes> : INeonCodes
    where TCodes : struct, INeonCodes
{
    public static bool AreSigned => TCodes.AreSigned;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => Vector128.Load((sbyte*)codes + (64 * k4) + (16 * v));
}

/// <summary><see cref="CodeLayout.Bytes"/>: u − 128 is u with its top bit turned.</summary>
internal readonly unsafe struct ByteCodes : INeonCodes
{
    public static bool AreSigned => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => (CodeBits.Load(codes, k4, v) ^ Vector128.Create((byte)0x80)).AsSByte();
}

/// <summary><see cref="CodeLayout.Float8"/>: bytes as they are.</summary>
internal readonly unsafe struct Float8Codes : INeonCodes
{
    public static bool AreSigned => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => CodeBits.Load(codes, k4, v).AsSByte();
}

/// <summary><see cref="CodeLayout.Nibbles"/>.</summary>
internal readonly unsafe struct NibbleCodes : INeonCodes
{
    public static bool AreSigned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => CodeBits.Nibbles(codes, k4, v).AsSByte();
}

/// <summary><see cref="CodeLayout.NibbleTable"/>: a table of sixteen signed values fits one register.</summary>
internal readonly unsafe struct NibbleTableCodes<TTable> : INeonCodes
    where TTable : struct, INibbleTable
{
    public static bool AreSigned => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => AdvSimd.Arm64.VectorTableLookup(TTable.Values, CodeBits.Nibbles(codes, k4, v).AsSByte());
}

/// <summary>A table of <see cref="NibbleTables"/> as a constant: sixteen bytes, the first one lowest.</summary>
internal interface INibbleTable
{
    /// <summary>The signed values.</summary>
    static abstract Vector128<sbyte> Values { get; }
}

/// <summary><see cref="NibbleTables.NonLinear4"/>.</summary>
internal readonly struct NonLinear4Table : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

/// <summary><see cref="NibbleTables.Float4"/>.</summary>
internal readonly struct Float4Table : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}

/// <summary><see cref="NibbleTables.TwoBits"/>.</summary>
internal readonly struct TwoBitsTable : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(8, 25, 43, 0, 0, 0, 0, 0, -8, -25, -43, 0, 0, 0, 0, 0);
}

/// <summary><see cref="NibbleTables.ThreeBits"/>.</summary>
internal readonly struct ThreeBitsTable : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62);
}

/// <summary><see cref="NibbleTables.Odd"/>.</summary>
internal readonly struct OddTable : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15);
}

/// <summary><see cref="NibbleTables.Shifted"/>.</summary>
internal readonly struct ShiftedTable : INibbleTable
{
    public static Vector128<sbyte> Values => Vector128.Create(-7, 1, 9, 0, 0, 0, 0, 0, -9, -1, 7, 0, 0, 0, 0, 0);
}

/// <summary><see cref="CodeLayout.NibblesHigh1"/>.</summary>
internal readonly unsafe struct NibbleHigh1Codes : INeonCodes
{
    public static bool AreSigned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) =>
        (CodeBits.Nibbles(codes, k4, v) | CodeBits.Place(CodeBits.Load(codes, 4, v), 4 - k4, 0x10)).AsSByte();
}

/// <summary><see cref="CodeLayout.NibblesHigh2"/>.</summary>
internal readonly unsafe struct NibbleHigh2Codes : INeonCodes
{
    public static bool AreSigned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) =>
        (CodeBits.Nibbles(codes, k4, v) | CodeBits.Place(CodeBits.Load(codes, 4 + ((k4 & 3) >> 1), v), 4 - (2 * (k4 & 1)) - (4 * (k4 >> 2)), 0x30)).AsSByte();
}

/// <summary><see cref="CodeLayout.Pairs"/>.</summary>
internal readonly unsafe struct PairCodes : INeonCodes
{
    public static bool AreSigned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) => CodeBits.Pairs(codes, k4, v).AsSByte();
}

/// <summary><see cref="CodeLayout.PairsHigh1"/>.</summary>
internal readonly unsafe struct PairHigh1Codes : INeonCodes
{
    public static bool AreSigned => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<sbyte> At(byte* codes, int k4, int v) =>
        (CodeBits.Pairs(codes, k4, v) | CodeBits.Place(CodeBits.Load(codes, 2, v), 2 - k4, 0x04)).AsSByte();
}

/// <summary>Bits of a block's vectors.</summary>
internal static unsafe class CodeBits
{
    /// <summary>A quarter of a vector of 64 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Load(byte* codes, int vector, int quarter) => Vector128.Load(codes + (64 * vector) + (16 * quarter));

    /// <summary>The nibbles of k4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Nibbles(byte* codes, int k4, int v) =>
        k4 < 4 ? Load(codes, k4, v) & Vector128.Create((byte)0x0F) : Load(codes, k4 - 4, v) >>> 4;

    /// <summary>The bit pairs of k4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Pairs(byte* codes, int k4, int v) => Place(Load(codes, k4 >> 2, v), -2 * (k4 & 3), 0x03);

    /// <summary>Bytes moved left, or right where <paramref name="left"/> is negative, and masked.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Place(Vector128<byte> bytes, int left, byte mask) =>
        (left == 0 ? bytes : left > 0 ? bytes << left : bytes >>> -left) & Vector128.Create(mask);
}
