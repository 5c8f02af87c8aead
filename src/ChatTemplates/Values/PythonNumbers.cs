using System.Buffers;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace TpServe.ChatTemplates.Values;

/// <summary>How Python reads and prints numbers.</summary>
internal static class PythonNumbers
{
    private static readonly SearchValues<char> s_floatCharacters = SearchValues.Create("0123456789.eE+-");

    /// <summary>repr of a float: the fewest digits that read back the same, with an exponent below 1e-4 and from 1e16.</summary>
    public static string Repr(double number)
    {
        if (!double.IsFinite(number))
            return double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
        if (number == 0)
            return double.IsNegative(number) ? "-0.0" : "0.0";
        (string digits, int exponent) = ShortestDigits(Math.Abs(number));
        string sign = number < 0 ? "-" : "";
        if (exponent is < -4 or >= 16)
            return sign + Scientific(digits, exponent);
        if (exponent < 0)
            return sign + "0." + new string('0', -exponent - 1) + digits;
        if (digits.Length <= exponent + 1)
            return sign + digits.PadRight(exponent + 1, '0') + ".0";
        return sign + digits[..(exponent + 1)] + "." + digits[(exponent + 1)..];
    }

    /// <summary>d.ddde±xx, without the point where there is one digit.</summary>
    public static string Scientific(string digits, int exponent)
    {
        StringBuilder text = new();
        text.Append(digits[0]);
        if (digits.Length > 1)
            text.Append('.').Append(digits, 1, digits.Length - 1);
        text.Append('e').Append(exponent < 0 ? '-' : '+');
        return text.Append(Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture)).ToString();
    }

    /// <summary>The double nearest to an integer; Python's overflow error where there is none.</summary>
    public static double ToDouble(BigInteger integer)
    {
        // The text detour rounds to nearest; BigInteger's own conversion truncates.
        double number = BigInteger.Abs(integer) <= 1L << 53
            ? (double)integer
            : double.Parse(integer.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        return double.IsInfinity(number) ? throw Fault.Value("int too large to convert to float") : number;
    }

    /// <summary>a / b, correctly rounded also where neither fits a double.</summary>
    public static double Divide(BigInteger a, BigInteger b)
    {
        if (b.IsZero)
            throw Fault.Value("division by zero");
        if (BigInteger.Abs(a) <= 1L << 53 && BigInteger.Abs(b) <= 1L << 53)
            return (double)a / (double)b;
        // A quotient of at least 66 bits whose last bit says "and something": one rounding, to the nearest double.
        int shift = (int)Math.Max(0, 66 - (BigInteger.Abs(a).GetBitLength() - BigInteger.Abs(b).GetBitLength()));
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(a) << shift, BigInteger.Abs(b), out BigInteger rest);
        if (!rest.IsZero)
            quotient |= BigInteger.One;
        double number = Math.ScaleB(double.Parse(quotient.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture), -shift);
        if (double.IsInfinity(number))
            throw Fault.Value("integer division result too large for a float");
        return (a.Sign < 0) != (b.Sign < 0) ? -number : number;
    }

    /// <summary>int(text, base): outer white space, a sign, single underscores, and a prefix that fits the base.</summary>
    public static bool TryParseInteger(string text, int radix, out BigInteger integer)
    {
        integer = default;
        ReadOnlySpan<char> rest = PythonText.Trim(text);
        bool negative = rest.StartsWith("-", StringComparison.Ordinal);
        if (negative || rest.StartsWith("+", StringComparison.Ordinal))
            rest = rest[1..];
        int prefixed = rest.Length > 1 && rest[0] == '0' ? char.ToLowerInvariant(rest[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 } : 0;
        if (prefixed != 0 && (radix == prefixed || radix == 0))
        {
            rest = rest[2..];
            if (rest.StartsWith("_", StringComparison.Ordinal))
                rest = rest[1..];
            radix = prefixed;
        }
        else if (radix == 0)
        {
            if (rest.Length > 1 && rest[0] == '0' && rest.IndexOfAnyExcept('0', '_') >= 0)
                return false;
            radix = 10;
        }
        if (rest.Length > IntValue.MaxBits)
            return false;
        bool digitBefore = false;
        ulong chunk = 0, scale = 1; // many digits at a time: each product with the whole number copies it
        foreach (char c in rest)
        {
            if (c == '_' && digitBefore)
            {
                digitBefore = false;
                continue;
            }
            int digit = DigitOf(c);
            if (digit < 0 || digit >= radix)
                return false;
            chunk = chunk * (ulong)radix + (ulong)digit;
            scale *= (ulong)radix;
            if (scale > ulong.MaxValue / 64) // the largest radix is 36
            {
                integer = integer * scale + chunk;
                (chunk, scale) = (0, 1);
            }
            digitBefore = true;
        }
        integer = integer * scale + chunk;
        if (negative)
            integer = -integer;
        return digitBefore && integer.GetBitLength() <= IntValue.MaxBits;
    }

    /// <summary>float(text): outer white space, underscores between digits, inf, infinity and nan.</summary>
    public static bool TryParseFloat(string text, out double number)
    {
        number = 0;
        ReadOnlySpan<char> trimmed = PythonText.Trim(text);
        StringBuilder plain = new(trimmed.Length);
        for (int i = 0; i < trimmed.Length; i++)
        {
            char c = trimmed[i];
            if (c != '_')
                plain.Append(char.IsDigit(c) ? (char)('0' + DigitOf(c)) : c);
            else if (i == 0 || i + 1 == trimmed.Length || !char.IsDigit(trimmed[i - 1]) || !char.IsDigit(trimmed[i + 1]))
                return false;
        }
        string clean = plain.ToString();
        string unsigned = clean.TrimStart('+', '-').ToLowerInvariant();
        if (unsigned is "inf" or "infinity" or "nan" && clean.Length - unsigned.Length <= 1)
        {
            number = unsigned == "nan" ? double.NaN : clean.StartsWith('-') ? double.NegativeInfinity : double.PositiveInfinity;
            return true;
        }
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return !clean.AsSpan().ContainsAnyExcept(s_floatCharacters) && double.TryParse(clean, Style, CultureInfo.InvariantCulture, out number);
    }

    /// <summary>value · 10^decimals as an integer, rounded half to even on the exact binary value; value ≥ 0 and finite.</summary>
    public static BigInteger RoundScaled(double value, int decimals)
    {
        long bits = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)((bits >> 52) & 0x7FF);
        BigInteger numerator = exponent == 0 ? bits & 0xFFFFFFFFFFFFF : (bits & 0xFFFFFFFFFFFFF) | 0x10000000000000;
        int power = Math.Max(exponent, 1) - 1075;
        BigInteger denominator = BigInteger.One;
        if (power >= 0)
            numerator <<= power;
        else
            denominator <<= -power;
        if (decimals >= 0)
            numerator *= BigInteger.Pow(10, decimals);
        else
            denominator *= BigInteger.Pow(10, -decimals);
        return DivideHalfEven(numerator, denominator);
    }

    /// <summary>The integer nearest to a ratio of non-negative integers, the even one of two equally near.</summary>
    public static BigInteger DivideHalfEven(BigInteger numerator, BigInteger denominator)
    {
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int order = (rest * 2).CompareTo(denominator);
        return order > 0 || (order == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }

    /// <summary>The shortest digits of a positive double and the exponent of the first of them.</summary>
    private static (string Digits, int Exponent) ShortestDigits(double number)
    {
        string shortest = number.ToString("R", CultureInfo.InvariantCulture);
        int e = shortest.IndexOf('E', StringComparison.Ordinal);
        string mantissa = e < 0 ? shortest : shortest[..e];
        int exponent = e < 0 ? 0 : int.Parse(shortest.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string all = mantissa.Replace(".", "", StringComparison.Ordinal);
        string digits = all.TrimStart('0');
        exponent += (point < 0 ? mantissa.Length : point) - 1 - (all.Length - digits.Length);
        digits = digits.TrimEnd('0');
        return (digits, exponent);
    }

    private static int DigitOf(char c)
    {
        if (char.IsAsciiDigit(c))
            return c - '0';
        if (char.IsAsciiLetter(c))
            return char.ToLowerInvariant(c) - 'a' + 10;
        int digit = CharUnicodeInfo.GetDecimalDigitValue(c);
        return digit;
    }
}
