using System.Buffers.Binary;

namespace TpServe.Kernels.Reference;

/// <summary>Little-endian binary32, binary16 and bfloat16 values as float32, and back.</summary>
public static class FloatValues
{
    /// <summary>The value of a bfloat16.</summary>
    public static float FromBFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>The nearest bfloat16, ties to even; a NaN stays a NaN.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
            return (ushort)((bits >> 16) | 0x40);
        // Just below half of the last kept place, plus that place's own bit: carries exactly where rounding to even goes up.
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>The value of an 8-bit float: sign, four bits of exponent biased by 7, three of mantissa; finite whatever the bits, so that 0x7F is 480.</summary>
    /// <remarks>Source   Micikevicius et al. 2022, FP8 Formats for Deep Learning, table 1.</remarks>
    public static float E4M3(byte bits)
    {
        int exponent = (bits >> 3) & 15, mantissa = bits & 7;
        float magnitude = exponent == 0 ? mantissa / 512f : MathF.ScaleB(1f + (mantissa / 8f), exponent - 7);
        return (bits & 0x80) == 0 ? magnitude : -magnitude;
    }

    /// <summary>The value of a binary16 at the start of the bytes.</summary>
    internal static float Half(ReadOnlySpan<byte> bytes) => (float)BinaryPrimitives.ReadHalfLittleEndian(bytes);

    internal static void Float32(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes[(4 * i)..]);
    }

    internal static void Float16(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = Half(bytes[(2 * i)..]);
    }

    internal static void BFloat16(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = FromBFloat16(BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..]));
    }
}
