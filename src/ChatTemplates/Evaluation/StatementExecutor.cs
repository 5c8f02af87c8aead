using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>Runs the statements of a template and writes what they print.</summary>
internal static class StatementExecutor
{
    /// <summary>How a body ended: at its end, or at a break or continue meant for the loop around it.</summary>
    public enum Flow
    {
        Next,
        Break,
        Continue,
    }

    public static Flow Execute(RenderState state, Scope scope, Statement[] body, StringAssembler output)
    {
        state.Enter();
        Flow flow = Flow.Next;
        for (int i = 0; i < body.Length && flow == Flow.Next; i++)
        {
            state.Step();
            state.Line = body[i].Line;
            flow = Execute(state, scope, body[i], output);
        }
        state.Leave();
        return flow;
    }

    /// <summary>What a body prints, as one text.</summary>
    public static StringValue Capture(RenderState state, Scope scope, Statement[] body)
    {
        StringAssembler text = new(state);
        Execute(state, scope, body, text);
        return text.ToValue();
    }

    private static Flow Execute(RenderState state, Scope scope, Statement statement, StringAssembler output)
    {
        switch (statement)
        {
            case TextStatement text:
                output.Append(text.Text);
                return Flow.Next;
            case PrintStatement print:
                output.Append(PythonText.Str(state, ExpressionEvaluator.Evaluate(state, scope, print.Value)));
                return Flow.Next;
            case IfStatement choice:
                return If(state, scope, choice, output);
            case ForStatement loop:
                return For(state, scope, loop, output);
            case SetStatement set:
                Assign(state, scope, set.Target, ExpressionEvaluator.Evaluate(state, scope, set.Value));
                return Flow.Next;
            case SetBlockStatement set:
                return CaptureInto(state, scope, set.Filters, set.Body, value => Assign(state, scope, set.Target, value));
            case FilterBlockStatement filter:
                return CaptureInto(state, scope, filter.Filters, filter.Body, value => output.Append(PythonText.Str(state, value)));
            case MacroStatement macro:
                scope.Set(macro.Macro.Name, new MacroValue(macro.Macro, scope));
                return Flow.Next;
            case CallBlockStatement call:
                CallWithBody(state, scope, call, output);
                return Flow.Next;
            case WithStatement with:
                Scope inner = new(scope);
                foreach ((AssignTarget target, Expression value) in with.Variables)
                    Assign(state, inner, target, ExpressionEvaluator.Evaluate(state, scope, value));
                return Execute(state, inner, with.Body, output);
            case ScopeStatement block:
                return Execute(state, new Scope(scope), block.Body, output);
            case BlockStatement block:
                return Execute(state, new Scope(block.IsScoped ? scope : scope.Root), block.Body, output);
            case BreakStatement:
                return Flow.Break;
            case ContinueStatement:
                return Flow.Continue;
            case LoadStatement load:
                throw Fault.Type($"{load.Tag}: no loader for this environment specified");
            default:
                throw new InvalidOperationException($"No execution for {statement.GetType().Name}.");
        }
    }

    private static Flow If(RenderState state, Scope scope, IfStatement choice, StringAssembler output)
    {
        foreach ((Expression test, Statement[] body) in choice.Branches)
            if (ExpressionEvaluator.Evaluate(state, scope, test).IsTrue)
                return Execute(state, scope, body, output);
        return Execute(state, scope, choice.Else, output);
    }

    private static Flow For(RenderState state, Scope scope, ForStatement loop, StringAssembler output)
    {
        Value items = ExpressionEvaluator.Evaluate(state, scope, loop.Items);
        if (!loop.IsRecursive)
            return RunLoop(state, scope, loop, items, 0, null, output);
        output.Append(Recurse(items, 0));
        return Flow.Next;

        StringValue Recurse(Value inner, int depth)
        {
            state.Enter();
            StringAssembler text = new(state);
            RunLoop(state, scope, loop, inner, depth, Recurse, text);
            state.Leave();
            return text.ToValue();
        }
    }

    private static Flow RunLoop(
        RenderState state, Scope scope, ForStatement loop, Value items, int depth, Func<Value, int, Value>? recurse, StringAssembler output)
    {
        IEnumerable<Value> elements = Iteration.Of(state, items);
        int? length = Iteration.Length(items);
        if (loop.Test is not null)
            (elements, length) = (Select(state, scope, loop, elements), null);
        LoopValue cursor = new(state, elements.GetEnumerator(), length, depth, recurse);
        bool completed = false; // else also runs where every pass was broken off or continued
        for (Value? item = cursor.Advance(); item is not null; item = cursor.Advance())
        {
            state.Step();
            Scope pass = new(scope);
            pass.Set("loop", cursor);
            Assign(state, pass, loop.Target, item);
            Flow flow = Execute(state, pass, loop.Body, output);
            completed |= flow == Flow.Next;
            if (flow == Flow.Break)
                break;
        }
        return completed || loop.Else.Length == 0 ? Flow.Next : Execute(state, new Scope(scope), loop.Else, output);
    }

    private static IEnumerable<Value> Select(RenderState state, Scope scope, ForStatement loop, IEnumerable<Value> elements)
    {
        foreach (Value element in elements)
        {
            Scope inner = new(scope);
            Assign(state, inner, loop.Target, element);
            if (ExpressionEvaluator.Evaluate(state, inner, loop.Test!).IsTrue)
                yield return element;
        }
    }

    private static Flow CaptureInto(RenderState state, Scope scope, FilterCall[] filters, Statement[] body, Action<Value> use)
    {
        Scope inner = new(scope);
        StringAssembler text = new(state);
        Flow flow = Execute(state, inner, body, text);
        if (flow != Flow.Next)
            return flow;
        Value value = text.ToValue();
        foreach (FilterCall filter in filters)
            value = ExpressionEvaluator.ApplyFilter(state, inner, filter, value);
        use(value);
        return Flow.Next;
    }

    private static void CallWithBody(RenderState state, Scope scope, CallBlockStatement call, StringAssembler output)
    {
        Value target = ExpressionEvaluator.Evaluate(state, scope, call.Call.Target);
        Arguments arguments = ExpressionEvaluator.EvaluateArguments(state, scope, call.Call.Arguments);
        KeyValuePair<string, Value> caller = new("caller", new MacroValue(call.Caller, scope));
        Value result = ExpressionEvaluator.Invoke(state, target, new Arguments(arguments.Positional, [.. arguments.Named, caller]));
        output.Append(PythonText.Str(state, result));
    }

    private static void Assign(RenderState state, Scope scope, AssignTarget target, Value value)
    {
        switch (target)
        {
            case NameTarget name:
                scope.Set(name.Name, value);
                break;
            case NamespaceTarget member:
                if (scope.Get(member.Name) is not NamespaceValue space)
                    throw Fault.Type("cannot assign attribute on non-namespace object");
                space.Attributes[member.Attribute] = value;
                break;
            case TupleTarget tuple:
                Value[] items = Iteration.ToArray(state, value is UndefinedValue undefined ? throw undefined.Fail() : value);
                if (items.Length != tuple.Items.Length)
                    throw Fault.Value($"expected {tuple.Items.Length} values to unpack, got {items.Length}");
                for (int i = 0; i < items.Length; i++)
                    Assign(state, scope, tuple.Items[i], items[i]);
                break;
        }
    }
}
