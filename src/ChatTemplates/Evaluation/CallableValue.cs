using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>A function, method, filter or test implemented here.</summary>
internal delegate Value NativeFunction(RenderState state, Arguments arguments);

/// <summary>What a template can call.</summary>
internal abstract class CallableValue : Value
{
    public abstract Value Invoke(RenderState state, Arguments arguments);
}

/// <summary>A function or bound method implemented here.</summary>
internal sealed class FunctionValue(NativeFunction function) : CallableValue
{
    public override string TypeName => "builtin_function_or_method";

    public override Value Invoke(RenderState state, Arguments arguments) => function(state, arguments);
}

/// <summary>The arguments of a call, as Python passes them: by position and by name.</summary>
internal sealed class Arguments(Value[] positional, params KeyValuePair<string, Value>[] named)
{
    public static readonly Arguments None = new([]);

    public Value[] Positional { get; } = positional;

    public KeyValuePair<string, Value>[] Named { get; } = named;

    /// <summary>The arguments in the order of a function's parameters, null where one is absent; a type error where they do not fit.</summary>
    public Value?[] Bind(string function, int required, params ReadOnlySpan<string> parameters)
    {
        if (Positional.Length > parameters.Length)
            throw Fault.Type($"{function}() takes at most {parameters.Length} arguments ({Positional.Length} given)");
        Value?[] bound = new Value?[parameters.Length];
        Positional.CopyTo(bound, 0);
        foreach ((string name, Value value) in Named)
        {
            int position = parameters.IndexOf(name);
            if (position < 0)
                throw Fault.Type($"{function}() got an unexpected keyword argument '{name}'");
            if (bound[position] is not null)
                throw Fault.Type($"{function}() got multiple values for argument '{name}'");
            bound[position] = value;
        }
        for (int i = 0; i < required; i++)
            if (bound[i] is null)
                throw Fault.Type($"{function}() missing required argument: '{parameters[i]}'");
        return bound;
    }

    /// <summary>The positional arguments of a function that takes no names, between two counts.</summary>
    public Value[] RequirePositional(string function, int least, int most)
    {
        if (Named.Length > 0)
            throw Fault.Type($"{function}() takes no keyword arguments");
        if (Positional.Length < least || Positional.Length > most)
            throw Fault.Type($"{function}() takes {least} to {most} arguments ({Positional.Length} given)");
        return Positional;
    }

    /// <summary>The same arguments with one more in front.</summary>
    public Arguments Prepend(Value first) => new([first, .. Positional], Named);
}
