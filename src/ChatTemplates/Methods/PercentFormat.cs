using System.Globalization;
using System.Numerics;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>Python's printf-style formatting: text % values.</summary>
internal sealed class PercentFormat
{
    private readonly RenderState _state;
    private readonly StringValue _format;
    private readonly Value _values;
    private readonly StringAssembler _result;
    private int _at;
    private int _next;

    private PercentFormat(RenderState state, StringValue format, Value values)
    {
        _state = state;
        _format = format;
        _values = values;
        _result = new StringAssembler(state);
    }

    /// <summary>format % values: a tuple gives its elements, a dictionary its keys, anything else itself.</summary>
    public static StringValue Apply(RenderState state, StringValue format, Value values) => new PercentFormat(state, format, values).Run();

    private StringValue Run()
    {
        string text = _format.Text;
        while (_at < text.Length)
        {
            int percent = text.IndexOf('%', _at);
            if (percent < 0)
                percent = text.Length;
            _result.Append(_format, _at, percent - _at);
            _at = percent + 1;
            if (percent < text.Length)
                Convert();
        }
        bool allUsed = _values is TupleValue tuple
            ? _next == tuple.Items.Length
            : _next == 1 || _values is DictValue or ListValue or RangeValue or UndefinedValue; // what has elements may go unused
        return allUsed ? _result.ToValue().AsMarkup(_format.IsMarkup) : throw Fault.Type("not all arguments converted during string formatting");
    }

    private void Convert()
    {
        _state.Step();
        Value? named = Peek() == '(' ? Named() : null;
        bool left = false, plus = false, space = false, zero = false, alternate = false;
        for (; Peek() is '-' or '+' or ' ' or '0' or '#'; _at++)
        {
            left |= Peek() == '-';
            plus |= Peek() == '+';
            space |= Peek() == ' ';
            zero |= Peek() == '0';
            alternate |= Peek() == '#';
        }
        int width = Number();
        if (width < 0)
            (left, width) = (true, -Math.Max(width, -int.MaxValue));
        int precision = -1;
        if (Peek() == '.')
        {
            _at++;
            precision = Math.Max(0, Number());
        }
        while (Peek() is 'h' or 'l' or 'L')
            _at++;
        char type = Peek();
        _at++;
        if (type == '%')
        {
            _result.Append("%", false);
            return;
        }
        if (type is 's' or 'r' or 'a' or 'c')
        {
            StringValue text = Text(type, named ?? Next());
            if (precision >= 0 && type != 'c' && precision < text.Length)
                text = text.SliceCodePoints(0, precision);
            _result.Append(TextPadding.Pad(_state, text, width, StringValue.Template(" "), left ? TextAlignment.Left : TextAlignment.Right));
            return;
        }
        (bool negative, string prefix, string digits) = NumberText(type, precision, alternate, () => named ?? Next());
        string head = (negative ? "-" : plus ? "+" : space ? " " : "") + prefix;
        int missing = width - head.Length - digits.Length;
        if (!left && !zero)
            _result.AppendRepeated(StringValue.Template(" "), missing);
        _result.Append(head, false);
        if (!left && zero)
            _result.AppendRepeated(StringValue.Template("0"), missing);
        _result.Append(digits, false);
        if (left)
            _result.AppendRepeated(StringValue.Template(" "), missing);
    }

    private StringValue Text(char type, Value value)
    {
        if (type == 's')
            return _format.IsMarkup ? MarkupText.Escape(_state, value) : PythonText.Str(_state, value);
        if (type == 'c')
        {
            return value is StringValue text
                ? text.Length == 1 ? text : throw Fault.Type("%c requires int or char")
                : StringValue.Template(StringMethods.Character(value.RequireInteger()));
        }
        StringValue repr = PythonText.Repr(_state, value);
        if (type == 'a')
            repr = repr.Rebuilt(ToAscii(repr.Text));
        return _format.IsMarkup ? MarkupText.Escape(_state, repr) : repr;
    }

    private static (bool Negative, string Prefix, string Digits) NumberText(char type, int precision, bool alternate, Func<Value> next)
    {
        switch (type)
        {
            case 'd' or 'i' or 'u':
                Value number = next();
                BigInteger integer = number is FloatValue f ? Filters.NumberFilters.Truncate(f.Number) : RequireNumber(number, type);
                string digits = BigInteger.Abs(integer).ToString(CultureInfo.InvariantCulture);
                return (integer.Sign < 0, "", PadDigits(digits, precision));
            case 'x' or 'X' or 'o':
                integer = RequireNumber(next(), type);
                return (integer.Sign < 0, alternate ? "0" + type : "", PadDigits(FormatSpec.Radix(BigInteger.Abs(integer), type), precision));
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G':
                number = next();
                double real = number is FloatValue value ? value.Number : number.TryInteger(out integer)
                    ? PythonNumbers.ToDouble(integer)
                    : throw Fault.Type($"must be real number, not {number.TypeName}");
                bool negative = double.IsNegative(real) && !double.IsNaN(real);
                return (negative, "", FormatSpec.Digits(real, type, precision < 0 ? 6 : precision, alternate));
            case '\0':
                throw Fault.Value("incomplete format");
            default:
                throw Fault.Value($"unsupported format character '{type}'");
        }
    }

    private static string PadDigits(string digits, int precision) => precision > 2_000
        ? throw Fault.Limit("A precision of more than 2000 digits is above the limit.")
        : digits.PadLeft(Math.Max(precision, 0), '0');

    private static BigInteger RequireNumber(Value value, char type) => value.TryInteger(out BigInteger integer)
        ? integer
        : throw Fault.Type($"%{type} format: a number is required, not {value.TypeName}");

    private static string ToAscii(string text)
    {
        StringBuilder ascii = new();
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.IsAscii)
                ascii.Append((char)rune.Value);
            else
                ascii.Append(PythonText.Escape(rune));
        }
        return ascii.ToString();
    }

    private char Peek() => _at < _format.Text.Length ? _format.Text[_at] : '\0';

    private Value Named()
    {
        if (_values is not DictValue dict)
            throw Fault.Type("format requires a mapping");
        int start = ++_at;
        for (int open = 1; open > 0; _at++)
        {
            if (_at >= _format.Text.Length)
                throw Fault.Value("incomplete format key");
            open += Peek() == '(' ? 1 : Peek() == ')' ? -1 : 0;
        }
        string name = _format.Text[start..(_at - 1)];
        return dict.Get(_state, name) ?? throw Fault.Value($"key '{name}' is missing");
    }

    private Value Next()
    {
        int position = _next++;
        if (_values is TupleValue tuple)
            return position < tuple.Items.Length ? tuple.Items[position] : throw Fault.Type("not enough arguments for format string");
        return position == 0 ? _values : throw Fault.Type("not enough arguments for format string");
    }

    private int Number()
    {
        if (Peek() == '*')
        {
            _at++;
            return Next().RequireInt32();
        }
        int number = 0;
        for (; char.IsAsciiDigit(Peek()); _at++)
            number = number > 100_000_000 ? throw Fault.Value("width too big") : number * 10 + (Peek() - '0');
        return number;
    }
}
