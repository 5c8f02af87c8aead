using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>Computes the value of an expression in a scope.</summary>
internal static class ExpressionEvaluator
{
    public static Value Evaluate(RenderState state, Scope scope, Expression expression)
    {
        state.Step();
        switch (expression)
        {
            case ConstantExpression constant:
                return constant.Value;
            case NameExpression name:
                return scope.Get(name.Name);
        }
        state.Enter();
        Value value = expression switch
        {
            AttributeExpression attribute => Attributes.Get(state, Evaluate(state, scope, attribute.Target), attribute.Name),
            SubscriptExpression subscript => Subscript(state, scope, subscript),
            CallExpression call => Call(state, scope, call),
            FilterExpression filter => ApplyFilter(state, scope, filter.Filter, Evaluate(state, scope, filter.Target)),
            TestExpression test => Test(state, scope, test),
            BinaryExpression binary => Binary(state, scope, binary),
            UnaryExpression unary => Unary(state, scope, unary),
            CompareExpression compare => Compare(state, scope, compare),
            ConcatExpression concat => Concat(state, scope, concat),
            ConditionalExpression conditional => Conditional(state, scope, conditional),
            ListExpression list => new ListValue(EvaluateAll(state, scope, list.Items)),
            TupleExpression tuple => new TupleValue(EvaluateAll(state, scope, tuple.Items)),
            DictExpression dict => Dict(state, scope, dict),
            SliceExpression => throw Fault.Type("a slice is only an index"),
            _ => throw new InvalidOperationException($"No evaluation for {expression.GetType().Name}."),
        };
        state.Leave();
        return value;
    }

    /// <summary>value|filter.</summary>
    public static Value ApplyFilter(RenderState state, Scope scope, FilterCall filter, Value value)
    {
        if (filter.Function is null)
            throw Fault.Value($"No filter named '{filter.Name}' found.");
        return filter.Function(state, EvaluateArguments(state, scope, filter.Arguments).Prepend(value));
    }

    /// <summary>Calls a value; only functions, macros and the loop can be called.</summary>
    public static Value Invoke(RenderState state, Value target, Arguments arguments) => target switch
    {
        CallableValue callable => callable.Invoke(state, arguments),
        UndefinedValue undefined => throw undefined.Fail(),
        _ => throw Fault.Type($"'{target.TypeName}' object is not callable"),
    };

    /// <summary>The arguments of a call, * and ** unpacked.</summary>
    public static Arguments EvaluateArguments(RenderState state, Scope scope, CallArguments arguments)
    {
        if (ReferenceEquals(arguments, CallArguments.None))
            return Arguments.None;
        Value[] positional = EvaluateAll(state, scope, arguments.Positional);
        if (arguments.Unpacked is not null)
            positional = [.. positional, .. Iteration.ToArray(state, Evaluate(state, scope, arguments.Unpacked))];
        List<KeyValuePair<string, Value>> named = [];
        foreach ((string name, Expression value) in arguments.Named)
            named.Add(new(name, Evaluate(state, scope, value)));
        if (arguments.UnpackedNamed is not null)
        {
            Value mapping = Evaluate(state, scope, arguments.UnpackedNamed);
            if (mapping is not DictValue dict)
                throw Fault.Type($"argument after ** must be a mapping, not {mapping.TypeName}");
            foreach ((Value key, Value value) in dict.Entries)
                named.Add(new((key as StringValue ?? throw Fault.Type("keywords must be strings")).Text, value));
        }
        return new Arguments(positional, [.. named]);
    }

    private static Value[] EvaluateAll(RenderState state, Scope scope, Expression[] expressions)
    {
        if (expressions.Length == 0)
            return [];
        Value[] values = new Value[expressions.Length];
        for (int i = 0; i < values.Length; i++)
            values[i] = Evaluate(state, scope, expressions[i]);
        return values;
    }

    private static Value Subscript(RenderState state, Scope scope, SubscriptExpression subscript)
    {
        Value target = Evaluate(state, scope, subscript.Target);
        if (subscript.Key is not SliceExpression slice)
            return Attributes.GetItem(state, target, Evaluate(state, scope, subscript.Key));
        return Iteration.Slice(state, target, Bound(slice.Start), Bound(slice.Stop), Bound(slice.Step));

        Value? Bound(Expression? bound) => bound is null ? null : Evaluate(state, scope, bound);
    }

    private static Value Call(RenderState state, Scope scope, CallExpression call)
    {
        Value target = Evaluate(state, scope, call.Target);
        return Invoke(state, target, EvaluateArguments(state, scope, call.Arguments));
    }

    private static Value Test(RenderState state, Scope scope, TestExpression test)
    {
        Value value = Evaluate(state, scope, test.Target);
        if (test.Function is null)
            throw Fault.Value($"No test named '{test.Name}' found.");
        return test.Function(state, EvaluateArguments(state, scope, test.Arguments).Prepend(value));
    }

    private static Value Unary(RenderState state, Scope scope, UnaryExpression unary)
    {
        Value operand = Evaluate(state, scope, unary.Operand);
        return unary.Operator switch
        {
            UnaryOperator.Not => BoolValue.Of(!operand.IsTrue),
            UnaryOperator.Negate => Arithmetic.Negate(operand),
            _ => Arithmetic.Plus(operand),
        };
    }

    private static Value Binary(RenderState state, Scope scope, BinaryExpression binary)
    {
        Value left = Evaluate(state, scope, binary.Left);
        switch (binary.Operator)
        {
            case BinaryOperator.And:
                return left.IsTrue ? Evaluate(state, scope, binary.Right) : left;
            case BinaryOperator.Or:
                return left.IsTrue ? left : Evaluate(state, scope, binary.Right);
        }
        Value right = Evaluate(state, scope, binary.Right);
        return binary.Operator switch
        {
            BinaryOperator.Add => Arithmetic.Add(state, left, right),
            BinaryOperator.Subtract => Arithmetic.Subtract(left, right),
            BinaryOperator.Multiply => Arithmetic.Multiply(state, left, right),
            BinaryOperator.Divide => Arithmetic.Divide(left, right),
            BinaryOperator.FloorDivide => Arithmetic.FloorDivide(left, right),
            BinaryOperator.Modulo => Arithmetic.Modulo(state, left, right),
            _ => Arithmetic.Power(left, right),
        };
    }

    private static BoolValue Compare(RenderState state, Scope scope, CompareExpression compare)
    {
        Value left = Evaluate(state, scope, compare.First);
        foreach ((CompareOperator op, Expression operand) in compare.Rest)
        {
            Value right = Evaluate(state, scope, operand);
            if (!Holds(state, op, left, right))
                return BoolValue.False;
            left = right;
        }
        return BoolValue.True;
    }

    /// <summary>left op right.</summary>
    public static bool Holds(RenderState state, CompareOperator op, Value left, Value right) => op switch
    {
        CompareOperator.Equal => Comparison.AreEqual(state, left, right),
        CompareOperator.NotEqual => !Comparison.AreEqual(state, left, right),
        CompareOperator.Less => Comparison.Order(state, left, right, "<") < 0,
        CompareOperator.LessOrEqual => Comparison.Order(state, left, right, "<=") <= 0,
        CompareOperator.Greater => Comparison.Order(state, left, right, ">") > 0,
        CompareOperator.GreaterOrEqual => Comparison.Order(state, left, right, ">=") >= 0,
        CompareOperator.In => Comparison.Contains(state, right, left),
        _ => !Comparison.Contains(state, right, left),
    };

    private static StringValue Concat(RenderState state, Scope scope, ConcatExpression concat)
    {
        StringAssembler joined = new(state);
        foreach (Expression part in concat.Parts)
            joined.Append(PythonText.Str(state, Evaluate(state, scope, part)));
        return joined.ToValue();
    }

    private static Value Conditional(RenderState state, Scope scope, ConditionalExpression conditional)
    {
        if (Evaluate(state, scope, conditional.Test).IsTrue)
            return Evaluate(state, scope, conditional.Then);
        return conditional.Else is null
            ? new UndefinedValue("the inline if-expression evaluated to false and no else section was defined.")
            : Evaluate(state, scope, conditional.Else);
    }

    private static DictValue Dict(RenderState state, Scope scope, DictExpression dict)
    {
        DictValue made = new();
        foreach ((Expression key, Expression value) in dict.Entries)
            made.Set(state, Evaluate(state, scope, key), Evaluate(state, scope, value));
        return made;
    }
}
