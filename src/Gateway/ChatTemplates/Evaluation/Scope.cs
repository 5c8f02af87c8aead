using TpServe.Gateway.ChatTemplates.Values;

namespace TpServe.Gateway.ChatTemplates.Evaluation;

/// <summary>The variables of a loop's pass, a macro's call or a block; what is not here is looked up outside.</summary>
/// <remarks>
/// A set writes the innermost scope only, so a loop's assignments end with its pass; an if makes no scope. A macro keeps the scope it was defined
/// in and so sees the values its variables have when it is called.
/// </remarks>
internal sealed class Scope(Scope? parent)
{
    private Dictionary<string, Value>? _variables;

    /// <summary>The scope of the whole template.</summary>
    public Scope Root => parent?.Root ?? this;

    public void Set(string name, Value value) => (_variables ??= new(StringComparer.Ordinal))[name] = value;

    /// <summary>The value of a name, undefined where no scope has it.</summary>
    public Value Get(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Outer)
            if (scope._variables is { } variables && variables.TryGetValue(name, out Value? value))
                return value;
        return new UndefinedValue($"'{name}' is undefined");
    }

    private Scope? Outer => parent;
}
