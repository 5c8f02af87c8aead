using System.Globalization;
using System.Numerics;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>Python's format mini-language: [[fill]align][sign][z][#][0][width][grouping][.precision][type].</summary>
internal sealed class FormatSpec
{
    /// <summary>More digits than any double has after its point.</summary>
    private const int MaxPrecision = 2_000;

    public string Fill { get; set; } = " ";

    /// <summary>One of &lt; &gt; ^ =, or none for the type's own.</summary>
    public char Align { get; set; }

    /// <summary>One of + - and space, or none.</summary>
    public char Sign { get; set; }

    /// <summary>Whether a result of zero loses its sign.</summary>
    public bool NoNegativeZero { get; set; }

    public bool Alternate { get; set; }

    /// <summary>Whether a width that begins with 0 asked for zeros after the sign.</summary>
    public bool ZeroFill { get; set; }

    public int Width { get; set; }

    /// <summary>A comma or an underscore, or none.</summary>
    public char Grouping { get; set; }

    public int Precision { get; set; } = -1;

    /// <summary>The presentation type, or none.</summary>
    public char Type { get; set; }

    /// <summary>Reads a specification.</summary>
    public static FormatSpec Parse(string text)
    {
        FormatSpec spec = new();
        int at = 0;
        int first = text.Length > 0 && char.IsHighSurrogate(text[0]) && text.Length > 1 ? 2 : 1;
        if (text.Length > first && text[first] is '<' or '>' or '^' or '=')
        {
            spec.Fill = text[..first];
            spec.Align = text[first];
            at = first + 1;
        }
        else if (text.Length > 0 && text[0] is '<' or '>' or '^' or '=')
        {
            spec.Align = text[0];
            at = 1;
        }
        if (at < text.Length && text[at] is '+' or '-' or ' ')
            spec.Sign = text[at++];
        spec.NoNegativeZero = Skip(text, ref at, 'z');
        spec.Alternate = Skip(text, ref at, '#');
        if (Skip(text, ref at, '0') && spec.Align == 0)
        {
            spec.Fill = "0";
            spec.ZeroFill = true;
        }
        spec.Width = Number(text, ref at) ?? 0;
        if (at < text.Length && text[at] is ',' or '_')
            spec.Grouping = text[at++];
        if (Skip(text, ref at, '.'))
            spec.Precision = Number(text, ref at) ?? throw Fault.Value("Format specifier missing precision");
        if (at < text.Length)
            spec.Type = text[at++];
        return at == text.Length ? spec : throw Fault.Value($"Invalid format specifier '{text}'");
    }

    /// <summary>format(value, specification) for the built-in types.</summary>
    public static StringValue Apply(RenderState state, Value value, string specification)
    {
        if (value is StringValue text)
            return Parse(specification).ApplyToText(state, text);
        if (value is FloatValue number)
        {
            FormatSpec spec = Parse(specification);
            return spec.ApplyToNumber(state, spec.FormatFloat(number.Number));
        }
        if (value.TryInteger(out BigInteger integer))
        {
            FormatSpec spec = Parse(specification);
            return spec.ApplyToNumber(state, spec.FormatInteger(integer));
        }
        throw Fault.Type($"unsupported format string passed to {value.TypeName}.__format__");
    }

    /// <summary>Digits of a float in the notation of a type letter (e, f, g, %), without sign; infinities and NaN by name.</summary>
    public static string Digits(double number, char type, int precision, bool alternate)
    {
        number = Math.Abs(number);
        bool capital = char.IsUpper(type);
        string text;
        if (!double.IsFinite(number))
        {
            text = double.IsNaN(number) ? "nan" : "inf";
        }
        else
        {
            if (precision > MaxPrecision)
                throw Fault.Limit($"A precision of {precision} digits is above the limit of {MaxPrecision}.");
            text = char.ToLowerInvariant(type) switch
            {
                'e' => Exponent(number, precision, alternate),
                'g' => General(number, precision, alternate),
                _ => Fixed(number, precision, alternate),
            };
        }
        return capital ? text.ToUpperInvariant() : text;
    }

    private StringValue ApplyToText(RenderState state, StringValue text)
    {
        if (Type is not ('\0' or 's'))
            throw Fault.Value($"Unknown format code '{Type}' for object of type 'str'");
        if (Align == '=' || Sign != 0 || Grouping != 0)
            throw Fault.Value("Alignment '=', sign and grouping are not allowed in string format specifier");
        if (Precision >= 0 && Precision < text.Length)
            text = text.SliceCodePoints(0, Precision);
        return TextPadding.Pad(state, text, Width, StringValue.Template(Fill), Align switch
        {
            '>' => TextAlignment.Right,
            '^' => TextAlignment.Middle,
            _ => TextAlignment.Left,
        });
    }

    private StringValue ApplyToNumber(RenderState state, (bool Negative, string Prefix, string Digits) number)
    {
        string sign = number.Negative ? "-" : Sign is '+' or ' ' ? Sign.ToString() : "";
        string head = sign + number.Prefix;
        int missing = Width - head.Length - number.Digits.Length;
        if (missing > 0)
            state.CheckText((long)Width);
        StringValue fill = StringValue.Template(Fill);
        StringAssembler text = new(state);
        char align = ZeroFill ? '=' : Align;
        int left = align switch { '<' => 0, '^' => missing / 2, '=' => 0, _ => missing };
        int inner = align == '=' ? missing : 0;
        return text.AppendRepeated(fill, left).Append(head, false).AppendRepeated(fill, inner).Append(number.Digits, false)
            .AppendRepeated(fill, missing - left - inner).ToValue();
    }

    private (bool Negative, string Prefix, string Digits) FormatInteger(BigInteger integer)
    {
        if (Precision >= 0 && Type is '\0' or 'd' or 'n' or 'x' or 'X' or 'o' or 'b' or 'c')
            throw Fault.Value("Precision not allowed in integer format specifier");
        bool negative = integer.Sign < 0;
        BigInteger magnitude = BigInteger.Abs(integer);
        switch (Type)
        {
            case '\0' or 'd' or 'n':
                return (negative, "", Group(magnitude.ToString(CultureInfo.InvariantCulture), 3));
            case 'x' or 'X' or 'o' or 'b':
                string digits = Radix(magnitude, Type);
                return (negative, Alternate ? "0" + Type : "", Group(digits, 4));
            case 'c':
                return (false, "", StringMethods.Character(integer));
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or '%':
                return FormatFloat(PythonNumbers.ToDouble(integer));
            default:
                throw Fault.Value($"Unknown format code '{Type}' for object of type 'int'");
        }
    }

    private (bool Negative, string Prefix, string Digits) FormatFloat(double number)
    {
        bool negative = double.IsNegative(number) && !double.IsNaN(number);
        string digits;
        switch (Type)
        {
            case '\0' when Precision < 0:
                digits = PythonNumbers.Repr(Math.Abs(number));
                break;
            case '\0':
                digits = General(Math.Abs(number), Precision, false);
                if (double.IsFinite(number) && !digits.Contains('.', StringComparison.Ordinal) && !digits.Contains('e', StringComparison.Ordinal))
                    digits += ".0";
                break;
            case '%':
                digits = Digits(number * 100, 'f', Precision < 0 ? 6 : Precision, Alternate) + "%";
                break;
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or 'n':
                digits = Digits(number, Type == 'n' ? 'g' : Type, Precision < 0 ? 6 : Precision, Alternate);
                break;
            default:
                throw Fault.Value($"Unknown format code '{Type}' for object of type 'float'");
        }
        if (NoNegativeZero && !digits.AsSpan().ContainsAnyInRange('1', '9'))
            negative = false;
        return (negative, "", Group(digits, 3));
    }

    /// <summary>The digits before the point in groups, where grouping is asked for.</summary>
    private string Group(string digits, int size)
    {
        if (Grouping == 0)
            return digits;
        int whole = size == 3 ? digits.AsSpan().IndexOfAnyExceptInRange('0', '9') : digits.Length;
        if (whole < 0)
            whole = digits.Length;
        StringBuilder grouped = new();
        for (int i = 0; i < whole; i++)
        {
            if (i > 0 && (whole - i) % size == 0)
                grouped.Append(Grouping);
            grouped.Append(digits[i]);
        }
        return grouped.Append(digits, whole, digits.Length - whole).ToString();
    }

    /// <summary>An integer's digits in base 16, 8 or 2.</summary>
    public static string Radix(BigInteger magnitude, char type)
    {
        int bits = type switch { 'o' => 3, 'b' => 1, _ => 4 };
        if (magnitude.IsZero)
            return "0";
        Stack<char> digits = new();
        for (; !magnitude.IsZero; magnitude >>= bits)
            digits.Push((type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[(int)(magnitude & ((1 << bits) - 1))]);
        return new string([.. digits]);
    }

    private static string Fixed(double number, int precision, bool alternate)
    {
        string digits = PythonNumbers.RoundScaled(number, precision).ToString(CultureInfo.InvariantCulture).PadLeft(precision + 1, '0');
        int whole = digits.Length - precision;
        return digits[..whole] + (precision > 0 || alternate ? "." : "") + digits[whole..];
    }

    private static string Exponent(double number, int precision, bool alternate)
    {
        (string digits, int exponent) = Significant(number, precision + 1);
        string text = PythonNumbers.Scientific(digits, exponent);
        return alternate && precision == 0 ? text.Insert(1, ".") : text;
    }

    /// <summary>The shorter of fixed and exponent notation, its trailing zeros dropped.</summary>
    private static string General(double number, int precision, bool alternate)
    {
        precision = Math.Max(precision, 1);
        if (!double.IsFinite(number))
            return double.IsNaN(number) ? "nan" : "inf";
        (string digits, int exponent) = Significant(number, precision);
        if (exponent < -4 || exponent >= precision)
            return PythonNumbers.Scientific(alternate ? digits : TrimZeros(digits), exponent);
        string text = Fixed(number, precision - 1 - exponent, alternate);
        return alternate || !text.Contains('.', StringComparison.Ordinal) ? text : text.TrimEnd('0').TrimEnd('.');
    }

    private static string TrimZeros(string digits) => digits.TrimEnd('0') is { Length: > 0 } trimmed ? trimmed : "0";

    /// <summary>A count of significant digits, correctly rounded, and the exponent of the first.</summary>
    private static (string Digits, int Exponent) Significant(double number, int count)
    {
        if (number == 0)
            return (new string('0', count), 0);
        int exponent = (int)Math.Floor(Math.Log10(number));
        while (true)
        {
            string digits = PythonNumbers.RoundScaled(number, count - 1 - exponent).ToString(CultureInfo.InvariantCulture);
            if (digits.Length == count)
                return (digits, exponent);
            exponent += digits.Length > count ? 1 : -1;
        }
    }

    private static bool Skip(string text, ref int at, char wanted)
    {
        if (at >= text.Length || text[at] != wanted)
            return false;
        at++;
        return true;
    }

    private static int? Number(string text, ref int at)
    {
        int start = at;
        while (at < text.Length && char.IsAsciiDigit(text[at]))
            at++;
        if (at == start)
            return null;
        return int.TryParse(text.AsSpan(start, at - start), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw Fault.Value("Too many decimal digits in format string");
    }
}
