using System.Numerics;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Python's ==, &lt; and in.</summary>
internal static class Comparison
{
    /// <summary>a == b: by value for numbers, text and containers, by identity for the rest; all undefined values are equal.</summary>
    public static bool AreEqual(RenderState state, Value a, Value b)
    {
        state.Step();
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                state.ChargeText(0, Math.Min(x.Text.Length, y.Text.Length));
                return string.Equals(x.Text, y.Text, StringComparison.Ordinal);
            case (ListValue x, ListValue y):
                return SequencesEqual(state, x, y);
            case (TupleValue x, TupleValue y):
                return SequencesEqual(state, x, y);
            case (DictValue x, DictValue y):
                return DictsEqual(state, x, y);
            case (UndefinedValue, UndefinedValue):
                return true;
            case (RangeValue x, RangeValue y):
                return x.Count == y.Count && (x.Count == 0 || (x.Start == y.Start && (x.Count == 1 || x.Step == y.Step)));
            case (DictViewValue x, DictViewValue y) when x.Kind == y.Kind && x.Kind != DictViewKind.Values:
                return x.Dict.Count == y.Dict.Count && x.Items().All(item => Contains(state, y, item));
            default:
                return TryCompareNumbers(a, b) is { } order ? order == 0 : ReferenceEquals(a, b);
        }
    }

    /// <summary>The sign of a - b, or null where a NaN makes every order false; a type error for types that have no order.</summary>
    public static int? Order(RenderState state, Value a, Value b, string op)
    {
        state.Step();
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                state.ChargeText(0, Math.Min(x.Text.Length, y.Text.Length));
                return CompareCodePoints(x.Text, y.Text);
            case (ListValue x, ListValue y):
                return OrderSequences(state, x, y, op);
            case (TupleValue x, TupleValue y):
                return OrderSequences(state, x, y, op);
            case (UndefinedValue undefined, _):
                throw undefined.Fail();
            case (_, UndefinedValue undefined):
                throw undefined.Fail();
            default:
                if (IsNumber(a) && IsNumber(b))
                    return TryCompareNumbers(a, b);
                throw Fault.Type($"'{op}' not supported between instances of '{a.TypeName}' and '{b.TypeName}'");
        }
    }

    public static bool IsLess(RenderState state, Value a, Value b) => Order(state, a, b, "<") < 0;

    /// <summary>item in container.</summary>
    public static bool Contains(RenderState state, Value container, Value item)
    {
        switch (container)
        {
            case StringValue text:
                if (item is not StringValue part)
                    throw Fault.Type($"'in <string>' requires string as left operand, not {item.TypeName}");
                return TextSearch.IndexOf(state, text.Text, part.Text, 0, text.Text.Length) >= 0;
            case DictValue dict:
                return dict.Get(state, item) is not null;
            case DictViewValue { Kind: DictViewKind.Keys } keys:
                return keys.Dict.Get(state, item) is not null;
            case NamespaceValue or LoopValue or CallableValue or NoneValue or BoolValue or IntValue or FloatValue:
                throw Fault.Type($"argument of type '{container.TypeName}' is not iterable");
            default:
                foreach (Value element in Iteration.Of(state, container))
                    if (IsSame(state, element, item))
                        return true;
                return false;
        }
    }

    /// <summary>Equality as containers use it: an object equals itself, also NaN.</summary>
    public static bool IsSame(RenderState state, Value a, Value b) => ReferenceEquals(a, b) || AreEqual(state, a, b);

    /// <summary>Order by code points, which differs from UTF-16 order above the surrogates.</summary>
    public static int CompareCodePoints(string a, string b)
    {
        int common = a.AsSpan().CommonPrefixLength(b);
        if (common == a.Length || common == b.Length)
            return a.Length.CompareTo(b.Length);
        char x = a[common], y = b[common];
        return char.IsSurrogate(x) == char.IsSurrogate(y) ? x.CompareTo(y) : char.IsSurrogate(x) ? 1 : -1;
    }

    /// <summary>The sign of a - b for two numbers, exact also for integers beyond a double; null if either is no number or is NaN.</summary>
    private static int? TryCompareNumbers(Value a, Value b)
    {
        bool aIsInteger = a.TryInteger(out BigInteger x), bIsInteger = b.TryInteger(out BigInteger y);
        if (aIsInteger && bIsInteger)
            return x.CompareTo(y);
        if (a is FloatValue f && b is FloatValue g)
            return double.IsNaN(f.Number) || double.IsNaN(g.Number) ? null : f.Number.CompareTo(g.Number);
        if (aIsInteger && b is FloatValue h)
            return CompareExactly(x, h.Number);
        if (bIsInteger && a is FloatValue k)
            return -CompareExactly(y, k.Number);
        return null;
    }

    private static int? CompareExactly(BigInteger integer, double number)
    {
        if (double.IsNaN(number))
            return null;
        if (double.IsInfinity(number))
            return number > 0 ? -1 : 1;
        double floor = Math.Floor(number);
        int order = integer.CompareTo(new BigInteger(floor));
        return order == 0 && number > floor ? -1 : order;
    }

    private static bool IsNumber(Value value) => value is FloatValue || value.TryInteger(out _);

    private static bool SequencesEqual(RenderState state, SequenceValue a, SequenceValue b)
    {
        if (a.Items.Length != b.Items.Length)
            return false;
        state.Enter();
        bool equal = true;
        for (int i = 0; equal && i < a.Items.Length; i++)
            equal = IsSame(state, a.Items[i], b.Items[i]);
        state.Leave();
        return equal;
    }

    private static bool DictsEqual(RenderState state, DictValue a, DictValue b)
    {
        if (a.Count != b.Count)
            return false;
        state.Enter();
        bool equal = a.Entries.All(entry => b.Get(state, entry.Key) is { } other && IsSame(state, entry.Value, other));
        state.Leave();
        return equal;
    }

    private static int? OrderSequences(RenderState state, SequenceValue a, SequenceValue b, string op)
    {
        state.Enter();
        int? order = a.Items.Length.CompareTo(b.Items.Length);
        for (int i = 0; i < Math.Min(a.Items.Length, b.Items.Length); i++)
        {
            if (IsSame(state, a.Items[i], b.Items[i]))
                continue;
            order = Order(state, a.Items[i], b.Items[i], op);
            break;
        }
        state.Leave();
        return order;
    }
}
