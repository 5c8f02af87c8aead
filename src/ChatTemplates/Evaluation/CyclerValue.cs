using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

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
