using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>A macro or a call block's body, with the scope it was defined in.</summary>
internal sealed class MacroValue(MacroDefinition definition, Scope scope) : CallableValue
{
    public string Name => definition.Name;

    public override string TypeName => "Macro";

    /// <summary>An attribute of the macro, or null.</summary>
    public Value? Attribute(string name) => name switch
    {
        "name" => StringValue.Template(definition.Name),
        "arguments" => new TupleValue([.. definition.Parameters.Select(parameter => StringValue.Template(parameter.Key))]),
        "catch_kwargs" => BoolValue.Of(definition.UsesKwargs),
        "catch_varargs" => BoolValue.Of(definition.UsesVarargs),
        "caller" => BoolValue.Of(definition.UsesCaller),
        _ => null,
    };

    /// <summary>Renders the body with the arguments; a parameter without argument or default is undefined.</summary>
    public override Value Invoke(RenderState state, Arguments arguments)
    {
        KeyValuePair<string, Expression?>[] parameters = definition.Parameters;
        Scope call = new(scope);
        List<KeyValuePair<string, Value>> left = [.. arguments.Named];
        Value?[] bound = new Value?[parameters.Length];
        for (int i = 0; i < parameters.Length; i++)
            bound[i] = i < arguments.Positional.Length ? arguments.Positional[i] : Take(left, parameters[i].Key);
        bool ownCaller = parameters.Any(static parameter => parameter.Key == "caller");
        if (definition.UsesCaller && !ownCaller)
            call.Set("caller", Take(left, "caller") ?? new UndefinedValue("No caller defined"));
        if (definition.UsesKwargs)
        {
            DictValue kwargs = new();
            foreach ((string name, Value value) in left)
                kwargs.Set(state, StringValue.Template(name), value);
            call.Set("kwargs", kwargs);
        }
        else if (left.Count > 0)
        {
            throw Fault.Type($"macro {PythonText.Quote(Name)} takes no keyword argument {PythonText.Quote(left[0].Key)}");
        }
        if (definition.UsesVarargs)
            call.Set("varargs", new TupleValue([.. arguments.Positional.Skip(parameters.Length)]));
        else if (arguments.Positional.Length > parameters.Length)
            throw Fault.Type($"macro {PythonText.Quote(Name)} takes not more than {parameters.Length} argument(s)");

        for (int i = 0; i < parameters.Length; i++)
            if (bound[i] is not null)
                call.Set(parameters[i].Key, bound[i]!);
        for (int i = 0; i < parameters.Length; i++)
        {
            if (bound[i] is not null)
                continue;
            call.Set(parameters[i].Key, parameters[i].Value is { } byDefault
                ? ExpressionEvaluator.Evaluate(state, call, byDefault)
                : new UndefinedValue($"parameter {PythonText.Quote(parameters[i].Key)} was not provided"));
        }
        int line = state.Line;
        StringValue text = StatementExecutor.Capture(state, call, definition.Body);
        state.Line = line;
        return text;
    }

    private static Value? Take(List<KeyValuePair<string, Value>> named, string name)
    {
        int at = named.FindIndex(argument => argument.Key == name);
        if (at < 0)
            return null;
        Value value = named[at].Value;
        named.RemoveAt(at);
        return value;
    }
}
