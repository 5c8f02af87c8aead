using System.Numerics;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>The functions every template has: Jinja's own and the two of transformers.</summary>
internal static class GlobalFunctions
{
    private static readonly (string Name, NativeFunction Function)[] s_functions =
    [
        ("range", Range),
        ("dict", Dict),
        ("namespace", Namespace),
        ("cycler", static (_, arguments) => new CyclerValue(arguments.RequirePositional("cycler", 1, int.MaxValue))),
        ("joiner", static (state, arguments) => new JoinerValue(PythonText.Str(state, arguments.Bind("joiner", 0, "sep")[0] ?? StringValue.Template(", ")))),
        ("raise_exception", RaiseException),
        ("strftime_now", StrftimeNow),
    ];

    public static void Define(Scope scope)
    {
        foreach ((string name, NativeFunction function) in s_functions)
            scope.Set(name, new FunctionValue(function));
    }

    private static RangeValue Range(RenderState state, Arguments arguments)
    {
        Value[] bound = arguments.RequirePositional("range", 1, 3);
        BigInteger start = bound.Length > 1 ? bound[0].RequireInteger() : BigInteger.Zero;
        BigInteger stop = bound[bound.Length > 1 ? 1 : 0].RequireInteger();
        BigInteger step = bound.Length > 2 ? bound[2].RequireInteger() : BigInteger.One;
        if (step.IsZero)
            throw Fault.Value("range() arg 3 must not be zero");
        BigInteger span = step.Sign > 0 ? stop - start : start - stop;
        BigInteger count = span.Sign <= 0 ? BigInteger.Zero : (span - 1) / BigInteger.Abs(step) + 1;
        return count <= RangeValue.MaxCount
            ? new RangeValue(start, stop, step, (int)count)
            : throw Fault.Limit($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({RangeValue.MaxCount}).");
    }

    /// <summary>dict(mapping or pairs, name=value...).</summary>
    private static DictValue Dict(RenderState state, Arguments arguments)
    {
        if (arguments.Positional.Length > 1)
            throw Fault.Type($"dict expected at most 1 argument, got {arguments.Positional.Length}");
        DictValue made = new();
        if (arguments.Positional.Length == 1 && arguments.Positional[0] is DictValue source)
        {
            foreach ((Value key, Value value) in source.Entries)
                made.Set(state, key, value);
        }
        else if (arguments.Positional.Length == 1)
        {
            foreach (Value pair in Iteration.Of(state, arguments.Positional[0]))
            {
                Value[] parts = Iteration.ToArray(state, pair);
                if (parts.Length != 2)
                    throw Fault.Value($"dictionary update sequence element has length {parts.Length}; 2 is required");
                made.Set(state, parts[0], parts[1]);
            }
        }
        foreach ((string name, Value value) in arguments.Named)
            made.Set(state, StringValue.Template(name), value);
        return made;
    }

    private static NamespaceValue Namespace(RenderState state, Arguments arguments)
    {
        NamespaceValue space = new();
        foreach ((Value key, Value value) in Dict(state, arguments).Entries)
            space.Attributes[key is StringValue name ? name.Text : throw Fault.Type("namespace attributes must be text")] = value;
        return space;
    }

    private static Value RaiseException(RenderState state, Arguments arguments)
    {
        Value message = arguments.Bind("raise_exception", 1, "message")[0]!;
        throw new ChatTemplateException(ChatTemplateErrorReason.Raised, PythonText.Str(state, message).Text);
    }

    private static StringValue StrftimeNow(RenderState state, Arguments arguments)
    {
        StringValue format = arguments.Bind("strftime_now", 1, "format")[0] as StringValue ?? throw Fault.Type("strftime() argument 1 must be str");
        state.ChargeText(format.Text.Length * 10L, format.Text.Length * 10L);
        return format.Rebuilt(Strftime.Format(state.Now, format.Text));
    }
}

/// <summary>cycler(a, b, ...): gives its items in turn.</summary>
internal sealed class CyclerValue(Value[] items) : Value
{
    private int _next;

    public override string TypeName => "Cycler";

    /// <summary>An attribute, or null.</summary>
    public Value? Attribute(string name) => name switch
    {
        "current" => items[_next],
        "items" => new TupleValue(items),
        "pos" => new IntValue(_next),
        "next" => new FunctionValue((_, _) =>
        {
            Value current = items[_next];
            _next = (_next + 1) % items.Length;
            return current;
        }),
        "reset" => new FunctionValue((_, _) =>
        {
            _next = 0;
            return NoneValue.Instance;
        }),
        _ => null,
    };
}

/// <summary>joiner(separator): nothing at the first call, the separator at every later one.</summary>
internal sealed class JoinerValue(StringValue separator) : CallableValue
{
    private bool _used;

    public override string TypeName => "Joiner";

    public override Value Invoke(RenderState state, Arguments arguments)
    {
        StringValue result = _used ? separator : StringValue.Empty;
        _used = true;
        return result;
    }
}
