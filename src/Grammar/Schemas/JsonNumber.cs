using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace TpServe.Grammar.Schemas;

/// <summary>A JSON number exactly: Digits · 10^Exponent, with no zero at the digits' end.</summary>
internal readonly record struct JsonNumber(BigInteger Digits, int Exponent) : IComparable<JsonNumber>
{
    private const int MostDigits = 400;

    public bool IsInteger => Exponent >= 0;

    public bool IsNegative => Digits.Sign < 0;

    /// <summary>Digits before the point, "0" at least, and after it, none where there are none. Of the magnitude.</summary>
    public (string Whole, string Fraction) Decimal
    {
        get
        {
            string digits = BigInteger.Abs(Digits).ToString(CultureInfo.InvariantCulture);
            if (Exponent >= 0)
                return (Digits.IsZero ? "0" : digits + new string('0', Exponent), "");
            digits = digits.PadLeft(1 - Exponent, '0');
            return (digits[..^-Exponent], digits[^-Exponent..]);
        }
    }

    /// <summary>The number of a JSON text; null where it has too many digits to be treated exactly.</summary>
    public static JsonNumber? Parse(string text)
    {
        int e = text.AsSpan().IndexOfAny('e', 'E');
        string mantissa = e < 0 ? text : text[..e];
        int exponent = 0;
        if (e >= 0 && (!int.TryParse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent) || Math.Abs(exponent) > MostDigits))
            return null;
        int point = mantissa.IndexOf('.');
        if (point >= 0)
            exponent -= mantissa.Length - point - 1;
        if (mantissa.Length > MostDigits)
            return null;
        BigInteger digits = BigInteger.Parse(mantissa.Replace(".", "", StringComparison.Ordinal), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return Normal(digits, exponent);
    }

    public static JsonNumber? Parse(JsonElement element) => Parse(element.GetRawText());

    public int CompareTo(JsonNumber other)
    {
        int least = Math.Min(Exponent, other.Exponent);
        return Scaled(least).CompareTo(other.Scaled(least));
    }

    /// <summary>Digits at a scale that is no larger than this number's own.</summary>
    public BigInteger Scaled(int exponent) => Digits * BigInteger.Pow(10, Exponent - exponent);

    public bool IsMultipleOf(JsonNumber divisor)
    {
        int least = Math.Min(Exponent, divisor.Exponent);
        return (Scaled(least) % divisor.Scaled(least)).IsZero;
    }

    private static JsonNumber Normal(BigInteger digits, int exponent)
    {
        if (digits.IsZero)
            return new JsonNumber(0, 0);
        while ((digits % 10).IsZero)
        {
            digits /= 10;
            exponent++;
        }
        return new JsonNumber(digits, exponent);
    }
}
