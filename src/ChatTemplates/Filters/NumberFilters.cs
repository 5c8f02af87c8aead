using System.Numerics;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters that make numbers, or text of numbers.</summary>
internal static class NumberFilters
{
    public static Value Abs(RenderState state, Arguments arguments)
    {
        Value value = arguments.Bind("abs", 1, "x")[0]!;
        if (value.TryInteger(out BigInteger integer))
            return new IntValue(BigInteger.Abs(integer));
        if (value is FloatValue number)
            return new FloatValue(Math.Abs(number.Number));
        throw Fault.Type($"bad operand type for abs(): '{value.TypeName}'");
    }

    /// <summary>value|int(default, base): text that is no integer is tried as a float, and else the default is taken.</summary>
    public static Value Int(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("int", 1, "value", "default", "base");
        Value byDefault = bound[1] ?? new IntValue(0);
        switch (bound[0])
        {
            case StringValue text:
                state.Charge(text.Text.Length);
                int radix = bound[2]?.RequireInt32() ?? 10;
                bool fitsRadix = radix is 0 or (>= 2 and <= 36);
                if (fitsRadix && PythonNumbers.TryParseInteger(text.Text, radix, out BigInteger integer))
                    return new IntValue(integer);
                return PythonNumbers.TryParseFloat(text.Text, out double parsed) && double.IsFinite(parsed) ? IntValue.Of(new BigInteger(parsed)) : byDefault;
            case FloatValue number:
                // int(inf) is an OverflowError, which the filter does not catch at first try.
                return double.IsNaN(number.Number) ? byDefault : new IntValue(Truncate(number.Number));
            case UndefinedValue undefined:
                throw undefined.Fail();
            default:
                return bound[0]!.TryInteger(out integer) ? new IntValue(integer) : byDefault;
        }
    }

    public static Value Float(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("float", 1, "value", "default");
        Value byDefault = bound[1] ?? new FloatValue(0);
        switch (bound[0])
        {
            case StringValue text:
                state.Charge(text.Text.Length);
                return PythonNumbers.TryParseFloat(text.Text, out double number) ? new FloatValue(number) : byDefault;
            case FloatValue:
                return bound[0]!;
            case UndefinedValue undefined:
                throw undefined.Fail();
            default:
                return bound[0]!.TryInteger(out BigInteger integer) ? new FloatValue(PythonNumbers.ToDouble(integer)) : byDefault;
        }
    }

    /// <summary>value|round(precision, method): half to even on the exact binary value; ceil and floor by scaling.</summary>
    public static Value Round(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("round", 1, "value", "precision", "method");
        Value value = bound[0]!;
        Value precisionValue = bound[1] ?? new IntValue(0);
        string method = (bound[2] as StringValue)?.Text ?? (bound[2] is null ? "common" : "");
        if (method is not ("common" or "ceil" or "floor"))
            throw Fault.Value("method must be common, ceil or floor");
        if (method == "common")
            return RoundHalfEven(value, precisionValue is NoneValue ? 0 : precisionValue.RequireInt32());
        Value scale = Arithmetic.Power(new IntValue(10), precisionValue);
        Value scaled = Arithmetic.Multiply(state, value, scale);
        BigInteger whole = scaled is FloatValue number
            ? Truncate(method == "ceil" ? Math.Ceiling(number.Number) : Math.Floor(number.Number))
            : scaled.RequireInteger();
        return Arithmetic.Divide(IntValue.Of(whole), scale);
    }

    public static Value Sum(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("sum", 1, "iterable", "attribute", "start");
        Value[] path = Attributes.ParsePath(bound[1]);
        Value total = bound[2] ?? new IntValue(0);
        if (total is StringValue)
            throw Fault.Type("sum() can't sum strings [use ''.join(seq) instead]");
        foreach (Value item in Iteration.Of(state, bound[0]!))
        {
            state.Step();
            total = Arithmetic.Add(state, total, bound[1] is null or NoneValue ? item : Attributes.GetPath(state, item, path));
        }
        return total;
    }

    public static Value FileSizeFormat(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("filesizeformat", 1, "value", "binary");
        if (Float(state, new Arguments([bound[0]!, NoneValue.Instance])) is not FloatValue { Number: double bytes })
            throw bound[0] is StringValue ? Fault.Value("could not convert string to float") : Fault.Type("float() argument must be a string or a real number");
        bool binary = bound[1]?.IsTrue ?? false;
        double scale = binary ? 1024 : 1000;
        if (bytes == 1)
            return StringValue.Template("1 Byte");
        if (bytes < scale)
            return StringValue.Template($"{Truncate(bytes)} Bytes");
        const string Prefixes = "kMGTPEZY";
        double unit = scale;
        int index = 0;
        for (; index < Prefixes.Length - 1 && !(bytes < unit * scale); index++)
            unit *= scale;
        string prefix = binary ? char.ToUpperInvariant(Prefixes[index]) + "iB" : Prefixes[index] + "B";
        return StringValue.Template($"{FormatSpec.Digits(bytes / unit, 'f', 1, false)} {prefix}");
    }

    /// <summary>int(float): an error where there is no such integer.</summary>
    public static BigInteger Truncate(double number) => double.IsFinite(number)
        ? new BigInteger(number)
        : throw Fault.Value(double.IsNaN(number) ? "cannot convert float NaN to integer" : "cannot convert float infinity to integer");

    private static Value RoundHalfEven(Value value, int decimals)
    {
        if (value.TryInteger(out BigInteger integer))
        {
            if (decimals >= 0)
                return new IntValue(integer);
            if (-(long)decimals > IntValue.MaxBits)
                return new IntValue(BigInteger.Zero);
            BigInteger unit = BigInteger.Pow(10, -decimals);
            BigInteger rounded = PythonNumbers.DivideHalfEven(BigInteger.Abs(integer), unit) * unit;
            return IntValue.Of(integer.Sign < 0 ? -rounded : rounded);
        }
        if (value is not FloatValue { Number: double number })
            throw Fault.Type($"type {value.TypeName} doesn't define __round__ method");
        const int MostDecimals = 323, LeastDecimals = -309; // beyond these a double is left as it is, or is nothing
        if (!double.IsFinite(number) || decimals > MostDecimals)
            return value;
        if (decimals < LeastDecimals)
            return new FloatValue(Math.CopySign(0, number));
        string digits = PythonNumbers.RoundScaled(Math.Abs(number), decimals).ToString(System.Globalization.CultureInfo.InvariantCulture);
        double result = double.Parse($"{digits}e{-decimals}", System.Globalization.CultureInfo.InvariantCulture);
        if (double.IsInfinity(result))
            throw Fault.Value("rounded value too large to represent");
        return new FloatValue(Math.CopySign(result, number));
    }
}
