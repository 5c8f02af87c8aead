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
