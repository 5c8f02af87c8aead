using System.Numerics;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;

namespace TpServe.ChatTemplates.Values;

/// <summary>Python's binary and unary operators.</summary>
internal static class Arithmetic
{
    public static Value Add(RenderState state, Value a, Value b)
    {
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                if (x.IsMarkup || y.IsMarkup)
                    return Concat(state, MarkupText.Escape(state, x), MarkupText.Escape(state, y)).AsMarkup();
                return Concat(state, x, y);
            case (ListValue x, ListValue y):
                state.ChargeElements(x.Items.Length + y.Items.Length);
                return new ListValue([.. x.Items, .. y.Items]);
            case (TupleValue x, TupleValue y):
                state.ChargeElements(x.Items.Length + y.Items.Length);
                return new TupleValue([.. x.Items, .. y.Items]);
            case (StringValue x, not UndefinedValue):
                throw Fault.Type($"can only concatenate str (not \"{b.TypeName}\") to {x.TypeName}");
            default:
                return Numeric(a, b, "+", static (x, y) => x + y, static (x, y) => x + y);
        }
    }

    public static Value Subtract(Value a, Value b) => Numeric(a, b, "-", static (x, y) => x - y, static (x, y) => x - y);

    public static Value Multiply(RenderState state, Value a, Value b)
    {
        if (a is StringValue or SequenceValue && b.TryInteger(out BigInteger count))
            return Repeat(state, a, count);
        if (b is StringValue or SequenceValue && a.TryInteger(out count))
            return Repeat(state, b, count);
        return Numeric(a, b, "*", static (x, y) => x * y, static (x, y) => x * y);
    }

    /// <summary>a / b: always a float.</summary>
    public static Value Divide(Value a, Value b)
    {
        if (a.TryInteger(out BigInteger x) && b.TryInteger(out BigInteger y))
            return new FloatValue(PythonNumbers.Divide(x, y));
        (double p, double q) = RequireDoubles(a, b, "/");
        return q == 0 ? throw Fault.Value("float division by zero") : new FloatValue(p / q);
    }

    /// <summary>a // b: rounds towards minus infinity.</summary>
    public static Value FloorDivide(Value a, Value b)
    {
        if (a.TryInteger(out BigInteger x) && b.TryInteger(out BigInteger y))
        {
            if (y.IsZero)
                throw Fault.Value("integer division or modulo by zero");
            BigInteger quotient = BigInteger.DivRem(x, y, out BigInteger left);
            return IntValue.Of(!left.IsZero && (left.Sign < 0) != (y.Sign < 0) ? quotient - 1 : quotient);
        }
        (double p, double q) = RequireDoubles(a, b, "//");
        if (q == 0)
            throw Fault.Value("float floor division by zero");
        double rest = p % q;
        double division = (p - rest) / q;
        if (rest != 0 && (q < 0) != (rest < 0))
            division -= 1;
        double floor = Math.Floor(division);
        if (division - floor > 0.5)
            floor += 1;
        return new FloatValue(division == 0 ? Math.CopySign(0, p / q) : floor);
    }

    /// <summary>a % b: the sign of b; for text, printf-style formatting.</summary>
    public static Value Modulo(RenderState state, Value a, Value b)
    {
        if (a is StringValue format)
            return PercentFormat.Apply(state, format, b);
        if (a.TryInteger(out BigInteger x) && b.TryInteger(out BigInteger y))
        {
            if (y.IsZero)
                throw Fault.Value("integer modulo by zero");
            BigInteger rest = BigInteger.Remainder(x, y);
            return IntValue.Of(!rest.IsZero && (rest.Sign < 0) != (y.Sign < 0) ? rest + y : rest);
        }
        (double p, double q) = RequireDoubles(a, b, "%");
        return q == 0 ? throw Fault.Value("float modulo by zero") : new FloatValue(FloorModulus(p, q));
    }

    /// <summary>a ** b: an integer for integers with b ≥ 0, its size checked before it is computed.</summary>
    public static Value Power(Value a, Value b)
    {
        if (a.TryInteger(out BigInteger x) && b.TryInteger(out BigInteger y) && y.Sign >= 0)
        {
            if (x.IsZero || x.IsOne || x == BigInteger.MinusOne)
                return new IntValue(y.IsZero ? BigInteger.One : x.Sign < 0 && y.IsEven ? BigInteger.One : x);
            if ((BigInteger.Abs(x).GetBitLength() - 1) * y > IntValue.MaxBits)
                throw Fault.Limit($"An integer power of more than {IntValue.MaxBits} bits is above the limit.");
            return IntValue.Of(BigInteger.Pow(x, (int)y));
        }
        (double p, double q) = RequireDoubles(a, b, "**");
        if (p == 0 && q < 0)
            throw Fault.Value("0.0 cannot be raised to a negative power");
        if (p < 0 && double.IsFinite(p) && double.IsFinite(q) && q != Math.Floor(q))
            throw Fault.Type("complex numbers are not supported");
        double power = Math.Pow(p, q);
        if (double.IsInfinity(power) && double.IsFinite(p) && double.IsFinite(q))
            throw Fault.Value("result of ** is too large");
        return new FloatValue(p == 1 || q == 0 ? 1.0 : power);
    }

    public static Value Negate(Value value)
    {
        if (value.TryInteger(out BigInteger integer))
            return new IntValue(-integer);
        return value is FloatValue number ? new FloatValue(-number.Number) : throw BadUnary(value, "-");
    }

    public static Value Plus(Value value)
    {
        if (value.TryInteger(out BigInteger integer))
            return new IntValue(integer);
        return value is FloatValue ? value : throw BadUnary(value, "+");
    }

    /// <summary>Two texts joined, each keeping its origin.</summary>
    public static StringValue Concat(RenderState state, StringValue a, StringValue b)
    {
        if (b.Text.Length == 0)
            return a;
        if (a.Text.Length == 0)
            return b;
        return new StringAssembler(state).Append(a).Append(b).ToValue();
    }

    private static Value Repeat(RenderState state, Value value, BigInteger count)
    {
        if (count.Sign < 0)
            count = BigInteger.Zero;
        if (value is StringValue text)
        {
            state.CheckText(text.Text.Length * count);
            return new StringAssembler(state).AppendRepeated(text, text.Text.Length == 0 ? 0 : (long)count).ToValue().AsMarkup(text.IsMarkup);
        }
        Value[] items = ((SequenceValue)value).Items;
        state.ChargeElements(items.Length * count);
        Value[] repeated = new Value[items.Length * (items.Length == 0 ? 0 : (int)count)];
        for (int i = 0; i < repeated.Length; i++)
            repeated[i] = items[i % items.Length];
        return value is ListValue ? new ListValue(repeated) : new TupleValue(repeated);
    }

    private static Value Numeric(
        Value a, Value b, string op, Func<BigInteger, BigInteger, BigInteger> integers, Func<double, double, double> doubles)
    {
        if (a.TryInteger(out BigInteger x) && b.TryInteger(out BigInteger y))
            return IntValue.Of(integers(x, y));
        (double p, double q) = RequireDoubles(a, b, op);
        return new FloatValue(doubles(p, q));
    }

    private static (double A, double B) RequireDoubles(Value a, Value b, string op) =>
        TryDouble(a) is { } x && TryDouble(b) is { } y ? (x, y) : throw BadBinary(a, b, op);

    private static double? TryDouble(Value value)
    {
        if (value is FloatValue number)
            return number.Number;
        return value.TryInteger(out BigInteger integer) ? PythonNumbers.ToDouble(integer) : null;
    }

    /// <summary>Python's float %: the remainder has the divisor's sign, also when it is zero.</summary>
    private static double FloorModulus(double a, double b)
    {
        double rest = a % b;
        if (rest == 0)
            return Math.CopySign(0, b);
        return (rest < 0) != (b < 0) ? rest + b : rest;
    }

    private static ChatTemplateException BadBinary(Value a, Value b, string op)
    {
        if ((a as UndefinedValue ?? b as UndefinedValue) is { } undefined)
            return undefined.Fail();
        return a is SequenceValue && op == "+"
            ? Fault.Type($"can only concatenate {a.TypeName} (not \"{b.TypeName}\") to {a.TypeName}")
            : Fault.Type($"unsupported operand type(s) for {op}: '{a.TypeName}' and '{b.TypeName}'");
    }

    private static ChatTemplateException BadUnary(Value value, string op) =>
        value is UndefinedValue undefined ? undefined.Fail() : Fault.Type($"bad operand type for unary {op}: '{value.TypeName}'");
}
