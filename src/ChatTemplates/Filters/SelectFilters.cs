using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>map, select, reject and their attribute forms: generators, worked off as they are walked.</summary>
internal static class SelectFilters
{
    public static Value Select(RenderState state, Arguments arguments) => Choose(state, arguments, "select", byAttribute: false, wanted: true);

    public static Value Reject(RenderState state, Arguments arguments) => Choose(state, arguments, "reject", byAttribute: false, wanted: false);

    public static Value SelectAttr(RenderState state, Arguments arguments) => Choose(state, arguments, "selectattr", byAttribute: true, wanted: true);

    public static Value RejectAttr(RenderState state, Arguments arguments) => Choose(state, arguments, "rejectattr", byAttribute: true, wanted: false);

    /// <summary>map(attribute=path, default=value) or map(filter, arguments).</summary>
    public static Value Map(RenderState state, Arguments arguments)
    {
        return new IteratorValue(state, Mapped());

        IEnumerable<Value> Mapped()
        {
            if (!arguments.Positional[0].IsTrue)
                yield break;
            Func<Value, Value> map = Mapping(state, arguments);
            foreach (Value item in Iteration.Of(state, arguments.Positional[0]))
                yield return map(item);
        }
    }

    private static Func<Value, Value> Mapping(RenderState state, Arguments arguments)
    {
        if (arguments.Positional.Length > 1)
        {
            string name = FilterName(arguments.Positional[1]);
            NativeFunction filter = FilterTable.Find(name) ?? throw Fault.Value($"No filter named '{name}'.");
            Value[] rest = arguments.Positional[2..];
            return item => filter(state, new Arguments([item, .. rest], arguments.Named));
        }
        Value? attribute = null, absent = null;
        foreach ((string name, Value value) in arguments.Named)
        {
            switch (name)
            {
                case "attribute":
                    attribute = value;
                    break;
                case "default":
                    absent = value is NoneValue ? null : value;
                    break;
                default:
                    throw Fault.Type($"Unexpected keyword argument '{name}'");
            }
        }
        if (attribute is null)
            throw Fault.Type("map requires a filter argument");
        Value[] path = Attributes.ParsePath(attribute);
        return item => Attributes.GetPath(state, item, path, absent);
    }

    private static IteratorValue Choose(RenderState state, Arguments arguments, string filter, bool byAttribute, bool wanted)
    {
        return new IteratorValue(state, Chosen());

        IEnumerable<Value> Chosen()
        {
            if (!arguments.Positional[0].IsTrue)
                yield break;
            Func<Value, bool> test = Condition(state, arguments, filter, byAttribute);
            foreach (Value item in Iteration.Of(state, arguments.Positional[0]))
            {
                state.Step();
                if (test(item) == wanted)
                    yield return item;
            }
        }
    }

    private static Func<Value, bool> Condition(RenderState state, Arguments arguments, string filter, bool byAttribute)
    {
        int next = 1;
        Value[]? path = null;
        if (byAttribute)
            path = Attributes.ParsePath(arguments.Positional.Length > next ? arguments.Positional[next++] : throw Fault.Type($"{filter}: missing parameter for attribute name"));
        NativeFunction? test = null;
        Value[] rest = [];
        if (arguments.Positional.Length > next)
        {
            string name = FilterName(arguments.Positional[next]);
            test = TestTable.Find(name) ?? throw Fault.Value($"No test named '{name}'.");
            rest = arguments.Positional[(next + 1)..];
        }
        return item =>
        {
            if (path is not null)
                item = Attributes.GetPath(state, item, path);
            return (test is null ? item : test(state, new Arguments([item, .. rest], arguments.Named))).IsTrue;
        };
    }

    private static string FilterName(Value name) => StringMethods.RequireText(name).Text;
}
