using System.Numerics;

namespace TpServe.ChatTemplates.Values;

/// <summary>A value as Python knows it: what a template's expressions are made of. Requests make theirs with <see cref="RequestValue"/>.</summary>
/// <remarks>Threads  what a request may hand in never changes once it is made.</remarks>
public abstract class Value
{
    private protected Value()
    {
    }

    /// <summary>Python's name of the type, as error messages print it.</summary>
    public abstract string TypeName { get; }

    /// <summary>Python's truth value.</summary>
    public virtual bool IsTrue => true;

    /// <summary>Whether this is an integer in Python's sense, where a boolean is one.</summary>
    public virtual bool TryInteger(out BigInteger integer)
    {
        integer = default;
        return false;
    }

    /// <summary>The integer, or a type error that says what was expected.</summary>
    public BigInteger RequireInteger() => TryInteger(out BigInteger integer)
        ? integer
        : throw (this is UndefinedValue undefined ? undefined.Fail() : Fault.Type($"'{TypeName}' object cannot be interpreted as an integer"));

    /// <summary>The integer cut to the range of an int, which is all that a width, a count or an index needs.</summary>
    public int RequireInt32() => (int)BigInteger.Min(int.MaxValue, BigInteger.Max(int.MinValue, RequireInteger()));
}

/// <summary>Python's None.</summary>
internal sealed class NoneValue : Value
{
    public static readonly NoneValue Instance = new();

    public override string TypeName => "NoneType";

    public override bool IsTrue => false;
}

/// <summary>True or False; also the integers 1 and 0.</summary>
internal sealed class BoolValue : Value
{
    public static readonly BoolValue True = new(true);
    public static readonly BoolValue False = new(false);

    private BoolValue(bool flag) => Flag = flag;

    public bool Flag { get; }

    public override string TypeName => "bool";

    public override bool IsTrue => Flag;

    public static BoolValue Of(bool flag) => flag ? True : False;

    public override bool TryInteger(out BigInteger integer)
    {
        integer = Flag ? BigInteger.One : BigInteger.Zero;
        return true;
    }
}

/// <summary>An integer; Python's have no bound, these end at the 4300 digits that Python prints.</summary>
internal sealed class IntValue(BigInteger number) : Value
{
    /// <summary>log2(10^4300): more digits Python itself refuses to print.</summary>
    public const int MaxBits = 14_284;

    public BigInteger Number { get; } = number;

    public override string TypeName => "int";

    public override bool IsTrue => !Number.IsZero;

    /// <summary>The value of a result, checked against the bound.</summary>
    public static IntValue Of(BigInteger number) => number.GetBitLength() > MaxBits
        ? throw Fault.Limit($"An integer of {number.GetBitLength()} bits is above the limit of {MaxBits}.")
        : new IntValue(number);

    public override bool TryInteger(out BigInteger integer)
    {
        integer = Number;
        return true;
    }
}

/// <summary>A double.</summary>
internal sealed class FloatValue(double number) : Value
{
    public double Number { get; } = number;

    public override string TypeName => "float";

    public override bool IsTrue => Number != 0;
}

/// <summary>What an absent name, attribute or element gives: it prints as nothing, is false and empty, and fails on every other use.</summary>
internal sealed class UndefinedValue(string message, ChatTemplateErrorReason reason = ChatTemplateErrorReason.Undefined) : Value
{
    public override string TypeName => "Undefined";

    public override bool IsTrue => false;

    /// <summary>The error of using this value.</summary>
    public ChatTemplateException Fail() => new(reason, message);
}
