namespace TpServe.ChatTemplates.Parsing;

/// <summary>Filters and tests that do not exist: a syntax error, unless an if may keep them from being reached.</summary>
/// <remarks>
/// Jinja forgives an unknown filter or test directly inside an if block or a conditional expression and fails only when it is reached; a loop, macro or
/// other block inside the if is strict again.
/// </remarks>
internal sealed class UnknownNames
{
    private readonly List<(string Message, int Line)> _open = [];
    private readonly List<(string Message, int Line)> _strict = [];

    /// <summary>A mark to give to one of the two closing methods.</summary>
    public int Mark => _open.Count;

    public void Add(string kind, string name, int line) => _open.Add(($"No {kind} named '{name}'.", line));

    /// <summary>What was met since the mark stands under an if.</summary>
    public void Forgive(int mark) => _open.RemoveRange(mark, _open.Count - mark);

    /// <summary>What was met since the mark stands in a block of its own.</summary>
    public void Enforce(int mark)
    {
        _strict.AddRange(_open.Skip(mark));
        Forgive(mark);
    }

    /// <summary>Fails for the first name that nothing forgives.</summary>
    public void Check()
    {
        Enforce(0);
        if (_strict.Count == 0)
            return;
        (string message, int line) = _strict.MinBy(unknown => unknown.Line);
        throw new ChatTemplateException(ChatTemplateErrorReason.Syntax, message, line);
    }
}
