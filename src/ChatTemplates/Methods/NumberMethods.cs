using System.Numerics;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>The attributes and methods of Python's numbers.</summary>
internal static class NumberMethods
{
    /// <summary>An attribute of a number, or null.</summary>
    public static Value? Find(Value number, string name) => name switch
    {
        "real" => Plain(number),
        "imag" => number is FloatValue ? new FloatValue(0) : new IntValue(0),
        "conjugate" => Method(name, () => Plain(number)),
        "numerator" when number is not FloatValue => Plain(number),
        "denominator" when number is not FloatValue => new IntValue(1),
        "bit_length" when number is not FloatValue => Method(name, () => new IntValue(BitLength(number))),
        "is_integer" => Method(name, () => BoolValue.Of(number is not FloatValue f || f.Number == Math.Floor(f.Number))),
        _ => null,
    };

    private static long BitLength(Value number) => BigInteger.Abs(number.RequireInteger()).GetBitLength();

    private static Value Plain(Value number) => number is BoolValue ? new IntValue(number.RequireInteger()) : number;

    private static FunctionValue Method(string name, Func<Value> result) => new((_, arguments) =>
    {
        arguments.RequirePositional(name, 0, 0);
        return result();
    });
}
