using System.Globalization;

namespace TpServe.Ptx.Text;

/// <summary>Numbers in PTX text.</summary>
internal static class Immediates
{
    /// <summary>An integer literal: decimal, 0x, 0b or octal, with an optional U.</summary>
    public static ulong Integer(string text)
    {
        string digits = text.EndsWith('U') ? text[..^1] : text;
        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            return ulong.Parse(digits.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        if (digits.StartsWith("0b", StringComparison.OrdinalIgnoreCase))
            return Convert.ToUInt64(digits[2..], 2);
        if (digits.Length > 1 && digits[0] == '0' && digits.All(char.IsAsciiDigit))
            return Convert.ToUInt64(digits, 8);
        return ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value)
            ? value
            : throw new PtxException(PtxFault.Syntax, $"'{text}' is no integer.");
    }

    /// <summary>Reads a number token into an immediate.</summary>
    public static Operand Read(string text, bool negative)
    {
        if (text.Length == 10 && (text.StartsWith("0f", StringComparison.Ordinal) || text.StartsWith("0F", StringComparison.Ordinal)))
            return Float(uint.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) ^ (negative ? 0x80000000u : 0), 32);
        if (text.Length == 18 && (text.StartsWith("0d", StringComparison.Ordinal) || text.StartsWith("0D", StringComparison.Ordinal)))
            return Float(ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) ^ (negative ? 1UL << 63 : 0), 64);
        if (text.Contains('.') || (text.Contains('e', StringComparison.OrdinalIgnoreCase) && !text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)))
        {
            double value = double.Parse(text, CultureInfo.InvariantCulture);
            return Float(BitConverter.DoubleToUInt64Bits(negative ? -value : value), 64);
        }
        ulong integer = Integer(text);
        return new Operand(OperandKind.Immediate) { Bits = negative ? 0 - integer : integer };
    }

    private static Operand Float(ulong bits, int width) => new(OperandKind.Immediate) { Bits = bits, FloatBits = width };

    /// <summary>The immediate's bits as an operand of this type has them.</summary>
    public static ulong Bits(Operand immediate, PtxType type) => (immediate.FloatBits, type) switch
    {
        (32, PtxType.F64) => BitConverter.DoubleToUInt64Bits(BitConverter.UInt32BitsToSingle((uint)immediate.Bits)),
        (64, PtxType.F32) => BitConverter.SingleToUInt32Bits((float)BitConverter.UInt64BitsToDouble(immediate.Bits)),
        (64, PtxType.F16) => BitConverter.HalfToUInt16Bits((Half)BitConverter.UInt64BitsToDouble(immediate.Bits)),
        _ => immediate.Bits & type.Mask(),
    };
}
