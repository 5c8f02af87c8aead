using System.Numerics;
using System.Runtime.CompilerServices;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Python's equality and hash for dictionary keys and sets: 1, 1.0 and True are one key.</summary>
internal sealed class KeyComparer(RenderState state) : IEqualityComparer<Value>
{
    public bool Equals(Value? x, Value? y) => Comparison.AreEqual(state, x!, y!);

    public int GetHashCode(Value obj) => Hash(state, obj);

    /// <summary>The hash of a key that <see cref="RequireHashable"/> lets pass.</summary>
    public static int Hash(RenderState state, Value key)
    {
        if (key.TryInteger(out BigInteger integer))
            return integer.GetHashCode();
        switch (key)
        {
            case StringValue text:
                state.ChargeText(0, text.Text.Length);
                return text.Text.GetHashCode(StringComparison.Ordinal);
            case FloatValue { Number: double number }:
                return double.IsFinite(number) && number == Math.Floor(number) ? new BigInteger(number).GetHashCode() : number.GetHashCode();
            case TupleValue tuple:
                HashCode hash = default;
                state.Enter();
                foreach (Value item in tuple.Items)
                {
                    state.Step();
                    hash.Add(Hash(state, item));
                }
                state.Leave();
                return hash.ToHashCode();
            case NoneValue or UndefinedValue:
                return key.TypeName.GetHashCode(StringComparison.Ordinal);
            default:
                return RuntimeHelpers.GetHashCode(key);
        }
    }

    /// <summary>A type error for what Python does not hash: lists and dictionaries, also inside a tuple.</summary>
    public static void RequireHashable(RenderState state, Value key)
    {
        switch (key)
        {
            case ListValue or DictValue:
                throw Fault.Type($"unhashable type: '{key.TypeName}'");
            case TupleValue tuple:
                state.Enter();
                foreach (Value item in tuple.Items)
                {
                    state.Step();
                    RequireHashable(state, item);
                }
                state.Leave();
                break;
            default:
                break;
        }
    }
}
