using TpServe.ChatTemplates.Lexing;
using TpServe.ChatTemplates.Tree;

namespace TpServe.ChatTemplates.Parsing;

/// <summary>Parses what stands left of an assignment or between for and in.</summary>
internal sealed class AssignTargetParser(TokenReader tokens)
{
    /// <summary>A name, a tuple of names or, where allowed, namespace.attribute.</summary>
    public AssignTarget Parse(bool withNamespace = false, string? endName = null)
    {
        tokens.Enter();
        List<AssignTarget> items = [];
        bool isTuple = false;
        while (!IsEnd(endName))
        {
            items.Add(ParseOne(withNamespace));
            if (!tokens.TryTakeOperator(","))
                break;
            isTuple = true;
        }
        tokens.Leave();
        if (items.Count == 0)
            throw tokens.Fail($"expected a variable to assign to, got {tokens.Current.Describe()}");
        return isTuple ? new TupleTarget([.. items]) : items[0];
    }

    /// <summary>A single name that can be assigned.</summary>
    public string ParseName()
    {
        Token name = tokens.Expect(TokenKind.Name, "name");
        return name.Text is "true" or "false" or "none" or "True" or "False" or "None"
            ? throw tokens.Fail($"can't assign to '{name.Text}'", name.Line)
            : name.Text;
    }

    /// <summary>A loop's own variable cannot be its target.</summary>
    public void RequireNoLoopVariable(AssignTarget target, int line)
    {
        if (target is NameTarget { Name: "loop" } || (target is TupleTarget tuple && tuple.Items.Contains(new NameTarget("loop"))))
            throw tokens.Fail("Can't assign to special loop variable in for-loop target", line);
    }

    private AssignTarget ParseOne(bool withNamespace)
    {
        if (tokens.TryTakeOperator("("))
        {
            AssignTarget inner = Parse();
            tokens.ExpectOperator(")");
            return inner;
        }
        if (tokens.Current.Kind != TokenKind.Name)
            throw tokens.Fail($"can't assign to {tokens.Current.Describe()}");
        bool isAttribute = tokens.Following.IsOperator(".");
        string name = ParseName();
        if (!withNamespace || !isAttribute)
            return new NameTarget(name);
        tokens.Take();
        return new NamespaceTarget(name, tokens.Expect(TokenKind.Name, "attribute name").Text);
    }

    private bool IsEnd(string? endName) =>
        tokens.Current.Kind is TokenKind.TagEnd or TokenKind.PrintEnd || tokens.Current.IsOperator(")") ||
        (endName is not null && tokens.Current.IsName(endName));
}
