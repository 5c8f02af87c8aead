using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The tests of "is" by name. Each gets the tested value as its first positional argument.</summary>
internal static class TestTable
{
    private static readonly Dictionary<string, NativeFunction> s_tests = new(StringComparer.Ordinal)
    {
        ["defined"] = One("defined", static value => value is not UndefinedValue),
        ["undefined"] = One("undefined", static value => value is UndefinedValue),
        ["none"] = One("none", static value => value is NoneValue),
        ["boolean"] = One("boolean", static value => value is BoolValue),
        ["true"] = One("true", static value => value is BoolValue { Flag: true }),
        ["false"] = One("false", static value => value is BoolValue { Flag: false }),
        ["integer"] = One("integer", static value => value is IntValue),
        ["float"] = One("float", static value => value is FloatValue),
        ["number"] = One("number", static value => value is IntValue or BoolValue or FloatValue),
        ["string"] = One("string", static value => value is StringValue),
        ["mapping"] = One("mapping", static value => value is DictValue),
        ["sequence"] = One("sequence", static value => value is SequenceValue or StringValue or DictValue or RangeValue or UndefinedValue),
        ["iterable"] = One("iterable", Iteration.IsIterable),
        ["callable"] = One("callable", static value => value is CallableValue or UndefinedValue),
        ["escaped"] = One("escaped", static value => value is StringValue { IsMarkup: true }),
        ["odd"] = static (state, arguments) => IsRemainder(state, arguments.Bind("odd", 1, "value")[0]!, new IntValue(2), 1),
        ["even"] = static (state, arguments) => IsRemainder(state, arguments.Bind("even", 1, "value")[0]!, new IntValue(2), 0),
        ["divisibleby"] = static (state, arguments) =>
        {
            Value?[] bound = arguments.Bind("divisibleby", 2, "value", "num");
            return IsRemainder(state, bound[0]!, bound[1]!, 0);
        },
        ["lower"] = static (state, arguments) => BoolValue.Of(TextCase.IsAll(PythonText.Str(state, arguments.Bind("lower", 1, "value")[0]!).Text, false)),
        ["upper"] = static (state, arguments) => BoolValue.Of(TextCase.IsAll(PythonText.Str(state, arguments.Bind("upper", 1, "value")[0]!).Text, true)),
        ["sameas"] = static (_, arguments) =>
        {
            Value?[] bound = arguments.Bind("sameas", 2, "value", "other");
            return BoolValue.Of(IsSameObject(bound[0]!, bound[1]!));
        },
        ["filter"] = One("filter", static value => value is StringValue name && FilterTable.Find(name.Text) is not null),
        ["test"] = One("test", static value => value is StringValue name && Find(name.Text) is not null),
        ["in"] = Compare(CompareOperator.In),
        ["=="] = Compare(CompareOperator.Equal),
        ["eq"] = Compare(CompareOperator.Equal),
        ["equalto"] = Compare(CompareOperator.Equal),
        ["!="] = Compare(CompareOperator.NotEqual),
        ["ne"] = Compare(CompareOperator.NotEqual),
        [">"] = Compare(CompareOperator.Greater),
        ["gt"] = Compare(CompareOperator.Greater),
        ["greaterthan"] = Compare(CompareOperator.Greater),
        [">="] = Compare(CompareOperator.GreaterOrEqual),
        ["ge"] = Compare(CompareOperator.GreaterOrEqual),
        ["<"] = Compare(CompareOperator.Less),
        ["lt"] = Compare(CompareOperator.Less),
        ["lessthan"] = Compare(CompareOperator.Less),
        ["<="] = Compare(CompareOperator.LessOrEqual),
        ["le"] = Compare(CompareOperator.LessOrEqual),
    };

    /// <summary>The test of a name, or null.</summary>
    public static NativeFunction? Find(string name) => s_tests.GetValueOrDefault(name);

    private static NativeFunction One(string name, Func<Value, bool> test) => (_, arguments) => BoolValue.Of(test(arguments.Bind(name, 1, "value")[0]!));

    private static NativeFunction Compare(CompareOperator op) => (state, arguments) =>
    {
        Value?[] bound = arguments.Bind("comparison", 2, "value", "other");
        return BoolValue.Of(ExpressionEvaluator.Holds(state, op, bound[0]!, bound[1]!));
    };

    private static BoolValue IsRemainder(RenderState state, Value value, Value divisor, int remainder) =>
        BoolValue.Of(Comparison.AreEqual(state, Arithmetic.Modulo(state, value, divisor), new IntValue(remainder)));

    /// <summary>Python's "is": the same object; small integers and equal short texts are one object there.</summary>
    private static bool IsSameObject(Value a, Value b) => (a, b) switch
    {
        (IntValue x, IntValue y) => x.Number == y.Number && x.Number >= -5 && x.Number <= 256 || ReferenceEquals(a, b),
        (StringValue x, StringValue y) => string.Equals(x.Text, y.Text, StringComparison.Ordinal) && x.IsMarkup == y.IsMarkup,
        _ => ReferenceEquals(a, b),
    };
}
