using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters over sequences and mappings that keep their order.</summary>
internal static class SequenceFilters
{
    public static Value Length(RenderState state, Arguments arguments)
    {
        Value value = arguments.Bind("length", 1, "obj")[0]!;
        return Iteration.Length(value) is { } length ? new IntValue(length) : throw Fault.Type($"object of type '{value.TypeName}' has no len()");
    }

    /// <summary>value|default(other, boolean): other for what is undefined, or with boolean for what is false.</summary>
    public static Value Default(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("default", 1, "value", "default_value", "boolean");
        bool take = bound[0] is UndefinedValue || ((bound[2]?.IsTrue ?? false) && !bound[0]!.IsTrue);
        return take ? bound[1] ?? StringValue.Empty : bound[0]!;
    }

    public static Value First(RenderState state, Arguments arguments)
    {
        foreach (Value item in Iteration.Of(state, arguments.Bind("first", 1, "seq")[0]!))
            return item;
        return new UndefinedValue("No first item, sequence was empty.");
    }

    public static Value Last(RenderState state, Arguments arguments)
    {
        foreach (Value item in Reversed(state, arguments.Bind("last", 1, "seq")[0]!) ?? throw Fault.Type("object is not reversible"))
            return item;
        return new UndefinedValue("No last item, sequence was empty.");
    }

    public static Value List(RenderState state, Arguments arguments) => new ListValue(Iteration.ToArray(state, arguments.Bind("list", 1, "value")[0]!));

    public static Value Items(RenderState state, Arguments arguments) => arguments.Bind("items", 1, "value")[0] switch
    {
        UndefinedValue => new IteratorValue(state, []),
        DictValue dict => new IteratorValue(state, new DictViewValue(dict, DictViewKind.Items).Items()),
        _ => throw Fault.Type("Can only get item pairs from a mapping."),
    };

    public static Value Reverse(RenderState state, Arguments arguments)
    {
        Value value = arguments.Bind("reverse", 1, "value")[0]!;
        if (value is StringValue)
            return Iteration.Slice(state, value, null, null, new IntValue(-1));
        if (Reversed(state, value) is { } reversed)
            return new IteratorValue(state, reversed, value is ListValue ? "list_reverseiterator" : "reversed");
        if (!Iteration.IsIterable(value))
            throw Fault.Type("argument must be iterable");
        Value[] items = Iteration.ToArray(state, value);
        Array.Reverse(items);
        return new ListValue(items);
    }

    /// <summary>value|attr(name): the attribute only, never the key.</summary>
    public static Value Attr(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("attr", 2, "obj", "name");
        string name = StringMethods.RequireText(bound[1]!).Text;
        if (bound[0] is UndefinedValue undefined)
            throw undefined.Fail();
        return Attributes.Own(bound[0]!, name) ?? new UndefinedValue($"'{bound[0]!.TypeName} object' has no attribute {PythonText.Quote(name)}");
    }

    /// <summary>Rows of a length, the last filled up if a filling is given.</summary>
    public static Value Batch(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("batch", 2, "value", "linecount", "fill_with");
        int count = bound[1]!.RequireInt32();
        return new IteratorValue(state, Rows(Iteration.Of(state, bound[0]!)));

        IEnumerable<Value> Rows(IEnumerable<Value> items)
        {
            List<Value> row = [];
            foreach (Value item in items)
            {
                state.Step();
                if (row.Count == count)
                {
                    yield return new ListValue([.. row]);
                    row.Clear();
                }
                row.Add(item);
            }
            if (row.Count == 0)
                yield break;
            if (bound[2] is not (null or NoneValue) && row.Count < count)
            {
                state.ChargeElements(count);
                row.AddRange(Enumerable.Repeat(bound[2]!, count - row.Count));
            }
            yield return new ListValue([.. row]);
        }
    }

    /// <summary>A number of columns as equal in length as can be.</summary>
    public static Value Slice(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("slice", 2, "value", "slices", "fill_with");
        int slices = bound[1]!.RequireInt32();
        return new IteratorValue(state, Columns());

        IEnumerable<Value> Columns()
        {
            Value[] items = Iteration.ToArray(state, bound[0]!);
            if (slices == 0)
                throw Fault.Value("integer division or modulo by zero");
            int each = slices > 0 ? items.Length / slices : 0, longer = slices > 0 ? items.Length % slices : 0;
            for (int i = 0, start = 0; i < slices; i++)
            {
                state.Step();
                int count = each + (i < longer ? 1 : 0);
                Value[] column = items[start..(start + count)];
                start += count;
                bool fill = i >= longer && bound[2] is not (null or NoneValue);
                yield return new ListValue(fill ? [.. column, bound[2]!] : column);
            }
        }
    }

    /// <summary>Python's reversed(), or null where a type has none.</summary>
    private static IEnumerable<Value>? Reversed(RenderState state, Value value) => value switch
    {
        SequenceValue sequence => Backwards(sequence.Items),
        StringValue or RangeValue => Backwards(Iteration.ToArray(state, value)),
        DictValue or DictViewValue => Backwards(Iteration.ToArray(state, value)),
        UndefinedValue => [],
        _ => null,
    };

    private static IEnumerable<Value> Backwards(Value[] items)
    {
        for (int i = items.Length - 1; i >= 0; i--)
            yield return items[i];
    }
}
