using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TpServe.Kernels.Reference;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>An element type of the KV cache: 16 lanes to and from float32.</summary>
/// <remarks>
/// Numerics to float32 is exact, infinities and NaNs included; from float32 rounds to nearest even. Where there are scales, elements here are codes, and
///          a loop that reads one multiplies it by its block's scale, exactly.
/// </remarks>
internal unsafe interface IKvElement
{
    /// <summary>The tensor type.</summary>
    static abstract ElementType Type { get; }

    /// <summary>Bytes of one element.</summary>
    static abstract int Bytes { get; }

    /// <summary>True where elements are the codes of <see cref="Q8Block"/>, whose scales lie behind the tile's codes.</summary>
    static abstract bool HasScales { get; }

    /// <summary>16 elements as float32.</summary>
    static abstract Vector512<float> Load(byte* source);

    /// <summary>One element as float32.</summary>
    static abstract float LoadOne(byte* source);

    /// <summary>16 elements rounded; the first <paramref name="count"/> are written, <paramref name="strideBytes"/> apart.</summary>
    static abstract void Store(Vector512<float> values, byte* target, int count, int strideBytes);
}

/// <summary>binary32.</summary>
internal readonly unsafe struct Float32Element : IKvElement
{
    public static ElementType Type => ElementType.Float32;

    public static int Bytes => 4;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* source) => Vector512.Load((float*)source);

    public static float LoadOne(byte* source) => *(float*)source;

    [SkipLocalsInit]
    public static void Store(Vector512<float> values, byte* target, int count, int strideBytes)
    {
        float* lanes = stackalloc float[VectorMath.Lanes];
        values.Store(lanes);
        for (int i = 0; i < count; i++)
            *(float*)(target + (nint)i * strideBytes) = lanes[i];
    }
}

/// <summary>binary16. .NET has no vector conversion for it, so the exponent is moved by an exact multiplication.</summary>
internal readonly unsafe struct Float16Element : IKvElement
{
    public static ElementType Type => ElementType.Float16;

    public static int Bytes => 2;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* source)
    {
        // Sign-extended and shifted, sign, exponent and mantissa stand where binary32 has them, the exponent 112 too low: subnormals too become
        // exact by the multiplication. Only the exponent of infinities and NaNs must be set by hand.
        Vector512<int> bits = Widen16.Signed((short*)source) << 13;
        Vector512<float> value = (bits & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(5.192296858534828e33f); // 2^112
        Vector512<float> special = Vector512.GreaterThanOrEqual(Vector512.Abs(value), Vector512.Create(65536f));
        return value | (special & Vector512.Create(float.PositiveInfinity));
    }

    public static float LoadOne(byte* source) => (float)*(Half*)source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> values, byte* target, int count, int strideBytes)
    {
        Vector512<int> bits = values.AsInt32();
        Vector512<int> magnitude = bits & Vector512.Create(0x7FFFFFFF);

        // Normal results: move the exponent by 112 and round the 13 dropped bits to even; a carry may run up to infinity, as it should.
        Vector512<int> odd = (magnitude >>> 13) & Vector512<int>.One;
        Vector512<int> normal = (magnitude + Vector512.Create(unchecked((int)0xC8000FFF)) + odd) >>> 13;

        // Subnormal results: adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded to even by the addition.
        Vector512<int> subnormal = (magnitude.AsSingle() + Vector512.Create(0.5f)).AsInt32() - Vector512.Create(0x3F000000);
        Vector512<int> special = Vector512.ConditionalSelect(
            Vector512.GreaterThan(magnitude, Vector512.Create(0x7F800000)), Vector512.Create(0x7E00), Vector512.Create(0x7C00));

        Vector512<int> half = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(0x38800000)), subnormal, normal);
        half = Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(0x47800000)), special, half);
        Widen16.Store(half | ((bits >>> 16) & Vector512.Create(0x8000)), target, count, strideBytes);
    }
}

/// <summary>bfloat16: the upper half of a binary32.</summary>
internal readonly unsafe struct BFloat16Element : IKvElement
{
    public static ElementType Type => ElementType.BFloat16;

    public static int Bytes => 2;

    public static bool HasScales => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* source) => (Widen16.Signed((short*)source) << 16).AsSingle();

    public static float LoadOne(byte* source) => FloatValues.FromBFloat16(*(ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> values, byte* target, int count, int strideBytes)
    {
        Vector512<int> bits = values.AsInt32(), upper = bits >>> 16;
        Vector512<int> rounded = (bits + Vector512.Create(0x7FFF) + (upper & Vector512<int>.One)) >>> 16;
        Vector512<int> isNaN = Vector512.GreaterThan(bits & Vector512.Create(0x7FFFFFFF), Vector512.Create(0x7F800000));
        Widen16.Store(Vector512.ConditionalSelect(isNaN, upper | Vector512.Create(0x40), rounded), target, count, strideBytes);
    }
}

/// <summary>The codes of <see cref="Q8Block"/>.</summary>
internal readonly unsafe struct Q8Element : IKvElement
{
    public static ElementType Type => ElementType.Q8;

    public static int Bytes => 1;

    public static bool HasScales => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(byte* source)
    {
        Vector128<sbyte> packed = Vector128.Load((sbyte*)source);
        if (Avx512F.IsSupported)
            return Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(packed));
        Vector128<short> low = Vector128.WidenLower(packed), high = Vector128.WidenUpper(packed);
        return Vector512.ConvertToSingle(Vector512.Create(
            Vector256.Create(Vector128.WidenLower(low), Vector128.WidenUpper(low)), Vector256.Create(Vector128.WidenLower(high), Vector128.WidenUpper(high))));
    }

    public static float LoadOne(byte* source) => *(sbyte*)source;

    /// <summary>The scale of a block of 32.</summary>
    public static Half Scale(Vector512<float> low, Vector512<float> high)
    {
        // As integers magnitudes keep their order and NaN is the largest: one answer on every machine.
        Vector512<int> mask = Vector512.Create(0x7FFFFFFF);
        Vector512<int> all = Vector512.Max(low.AsInt32() & mask, high.AsInt32() & mask);
        Vector256<int> eight = Vector256.Max(all.GetLower(), all.GetUpper());
        Vector128<int> four = Vector128.Max(eight.GetLower(), eight.GetUpper());
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Q8Block.Scale(BitConverter.Int32BitsToSingle(Math.Max(four.GetElement(0), four.GetElement(1))));
    }

    /// <summary>Values that are divided by their scale: rounded to whole codes and held within ±127.</summary>
    [SkipLocalsInit]
    public static void Store(Vector512<float> values, byte* target, int count, int strideBytes)
    {
        const float RoundToInteger = 12582912f; // 1.5 · 2^23: adding it leaves an integer in the low bits, rounded to nearest even
        Vector512<float> held = Vector512.MinNative(Vector512.MaxNative(values, Vector512.Create(-127f)), Vector512.Create(127f));
        Vector512<int> codes = (held + Vector512.Create(RoundToInteger)).AsInt32();
        Vector256<short> words = Vector256.Narrow(codes.GetLower(), codes.GetUpper()); // keeps the low bits
        Vector128<sbyte> bytes = Vector128.Narrow(words.GetLower(), words.GetUpper());
        if (strideBytes == 1 && count == VectorMath.Lanes)
        {
            bytes.Store((sbyte*)target);
            return;
        }
        sbyte* lanes = stackalloc sbyte[VectorMath.Lanes];
        bytes.Store(lanes);
        for (int i = 0; i < count; i++, target += strideBytes)
            *(sbyte*)target = lanes[i];
    }
}

/// <summary>16 lanes of 16 bits to and from 32.</summary>
internal static unsafe class Widen16
{
    /// <summary>16 short integers, sign-extended.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Signed(short* source)
    {
        Vector256<short> packed = Vector256.Load(source);
        if (Avx512F.IsSupported)
            return Avx512F.ConvertToVector512Int32(packed);
        return Vector512.Create(Vector256.WidenLower(packed), Vector256.WidenUpper(packed));
    }

    /// <summary>The low halves of the first <paramref name="count"/> lanes, <paramref name="strideBytes"/> apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    [SkipLocalsInit]
    public static void Store(Vector512<int> lanes, byte* target, int count, int strideBytes)
    {
        Vector256<short> halves = Vector256.Narrow(lanes.GetLower(), lanes.GetUpper()); // keeps the low bits
        if (strideBytes == sizeof(short) && count == VectorMath.Lanes)
        {
            halves.Store((short*)target);
            return;
        }
        short* values = stackalloc short[VectorMath.Lanes];
        halves.Store(values);
        for (int i = 0; i < count; i++, target += strideBytes)
            *(short*)target = values[i];
    }
}
