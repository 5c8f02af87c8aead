namespace TpServe.Ptx.Ops;

/// <summary>Floats of every width as bits; roundings to nearest, ties to even, from a double in one step.</summary>
internal static class Numbers16
{
    public static float Single(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits);

    public static ulong Bits(float value) => BitConverter.SingleToUInt32Bits(value);

    public static double Double(ulong bits) => BitConverter.UInt64BitsToDouble(bits);

    public static ulong Bits(double value) => BitConverter.DoubleToUInt64Bits(value);

    public static double Half(ulong bits) => (double)BitConverter.UInt16BitsToHalf((ushort)bits);

    public static ulong HalfBits(double value) => BitConverter.HalfToUInt16Bits((Half)value);

    public static double Bf16(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    public static ulong Bf16Bits(double value)
    {
        if (double.IsNaN(value))
            return 0x7fff;
        uint bits = BitConverter.SingleToUInt32Bits(ToOdd(value));
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }

    /// <summary>tf32: a float whose low 13 bits are zero; ties away from zero, as cvt.rna does.</summary>
    public static ulong Tf32Bits(float value) => float.IsFinite(value) ? (Bits(value) + 0x1000) & 0xffff_e000 : Bits(value);

    /// <summary>The value as a double, by its type.</summary>
    public static double ToDouble(PtxType type, ulong bits) => type switch
    {
        PtxType.F16 => Half(bits),
        PtxType.Bf16 => Bf16(bits),
        PtxType.F64 => Double(bits),
        PtxType.Tf32 => Single(bits & 0xffff_e000),
        _ => Single(bits),
    };

    /// <summary>A double rounded to the type.</summary>
    public static ulong FromDouble(PtxType type, double value) => type switch
    {
        PtxType.F16 => HalfBits(value),
        PtxType.Bf16 => Bf16Bits(value),
        PtxType.F64 => Bits(value),
        _ => Bits((float)value),
    };

    /// <summary>A double rounded toward zero to the type.</summary>
    public static ulong Truncate(PtxType type, double value)
    {
        ulong bits = FromDouble(type, value);
        // Nearest went outward: the number before it, in sign and magnitude one less.
        return Math.Abs(ToDouble(type, bits)) > Math.Abs(value) ? bits - 1 : bits;
    }

    /// <summary>Rounds to float keeping a trace of what is lost in the last bit, so that a second rounding is right.</summary>
    private static float ToOdd(double value)
    {
        float near = (float)value;
        if (near == value || float.IsInfinity(near))
            return near;
        uint bits = BitConverter.SingleToUInt32Bits(near);
        if (Math.Abs((double)near) > Math.Abs(value))
            bits--;
        return BitConverter.UInt32BitsToSingle(bits | 1);
    }
}
