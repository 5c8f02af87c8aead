using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>The loop variable of a for block, and the loop's cursor; it looks ahead only when it is asked to.</summary>
internal sealed class LoopValue(
    RenderState state, IEnumerator<Value> items, int? length, int depth0, Func<Value, int, Value>? recurse) : CallableValue
{
    private readonly Queue<Value> _ahead = new();
    private int? _length = length;
    private Value? _previous;
    private Value? _current;
    private TupleValue? _changed;

    /// <summary>Passes made so far, less one.</summary>
    public int Index0 { get; private set; } = -1;

    public override string TypeName => "LoopContext";

    /// <summary>How many passes there are; what has no length is walked to its end to find out.</summary>
    public int Length
    {
        get
        {
            if (_length is null)
            {
                while (items.MoveNext())
                {
                    state.Step();
                    _ahead.Enqueue(items.Current);
                }
                _length = Index0 + 1 + _ahead.Count;
            }
            return _length.Value;
        }
    }

    /// <summary>The next element, or null at the end.</summary>
    public Value? Advance()
    {
        Value? next = _ahead.TryDequeue(out Value? queued) ? queued : items.MoveNext() ? items.Current : null;
        if (next is null)
            return null;
        Index0++;
        _previous = _current;
        return _current = next;
    }

    /// <summary>An attribute such as index or last, or null where there is none of this name.</summary>
    public Value? Attribute(string name) => name switch
    {
        "index" => new IntValue(Index0 + 1),
        "index0" => new IntValue(Index0),
        "revindex" => new IntValue(Length - Index0),
        "revindex0" => new IntValue(Length - Index0 - 1),
        "first" => BoolValue.Of(Index0 == 0),
        "last" => BoolValue.Of(Peek() is null),
        "length" => new IntValue(Length),
        "depth" => new IntValue(depth0 + 1),
        "depth0" => new IntValue(depth0),
        "previtem" => _previous ?? new UndefinedValue("there is no previous item"),
        "nextitem" => Peek() ?? new UndefinedValue("there is no next item"),
        "cycle" => new FunctionValue(Cycle),
        "changed" => new FunctionValue(Changed),
        _ => null,
    };

    /// <summary>loop(items): the body again over inner items, in a loop marked recursive.</summary>
    public override Value Invoke(RenderState state, Arguments arguments)
    {
        Value inner = arguments.Bind("loop", 1, "iterable")[0]!;
        return recurse is null
            ? throw Fault.Type("The loop must have the 'recursive' marker to be called recursively.")
            : recurse(inner, depth0 + 1);
    }

    private Value? Peek()
    {
        if (_ahead.Count == 0 && items.MoveNext())
            _ahead.Enqueue(items.Current);
        return _ahead.TryPeek(out Value? next) ? next : null;
    }

    private Value Cycle(RenderState _, Arguments arguments)
    {
        Value[] choices = arguments.RequirePositional("cycle", 1, int.MaxValue);
        return choices[Index0 % choices.Length];
    }

    private BoolValue Changed(RenderState _, Arguments arguments)
    {
        TupleValue values = new(arguments.RequirePositional("changed", 0, int.MaxValue));
        if (_changed is not null && Comparison.AreEqual(state, _changed, values))
            return BoolValue.False;
        _changed = values;
        return BoolValue.True;
    }
}
