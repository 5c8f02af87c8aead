using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Tree;

/// <summary>A piece of a template's body, with its line.</summary>
internal abstract record Statement(int Line);

/// <summary>The template's own text.</summary>
internal sealed record TextStatement(StringValue Text, int Line) : Statement(Line);

/// <summary>{{ expression }}.</summary>
internal sealed record PrintStatement(Expression Value, int Line) : Statement(Line);

internal sealed record IfStatement(KeyValuePair<Expression, Statement[]>[] Branches, Statement[] Else, int Line) : Statement(Line);

internal sealed record ForStatement(
    AssignTarget Target, Expression Items, Expression? Test, bool IsRecursive, Statement[] Body, Statement[] Else, int Line) : Statement(Line);

internal sealed record SetStatement(AssignTarget Target, Expression Value, int Line) : Statement(Line);

/// <summary>{% set x | filter %}text{% endset %}.</summary>
internal sealed record SetBlockStatement(AssignTarget Target, FilterCall[] Filters, Statement[] Body, int Line) : Statement(Line);

internal sealed record MacroStatement(MacroDefinition Macro, int Line) : Statement(Line);

/// <summary>{% call(parameters) macro(arguments) %}text{% endcall %}.</summary>
internal sealed record CallBlockStatement(CallExpression Call, MacroDefinition Caller, int Line) : Statement(Line);

internal sealed record FilterBlockStatement(FilterCall[] Filters, Statement[] Body, int Line) : Statement(Line);

internal sealed record WithStatement(KeyValuePair<AssignTarget, Expression>[] Variables, Statement[] Body, int Line) : Statement(Line);

/// <summary>A body with variables of its own: {% generation %} or {% autoescape false %}.</summary>
internal sealed record ScopeStatement(Statement[] Body, int Line) : Statement(Line);

/// <summary>{% block %}: it sees the template's variables, and those around it only if it is scoped.</summary>
internal sealed record BlockStatement(bool IsScoped, Statement[] Body, int Line) : Statement(Line);

/// <summary>{% include %}, {% import %}, {% from %} or {% extends %}: a chat template has nothing to load from.</summary>
internal sealed record LoadStatement(string Tag, int Line) : Statement(Line);

internal sealed record BreakStatement(int Line) : Statement(Line);

internal sealed record ContinueStatement(int Line) : Statement(Line);

/// <summary>A macro, or the body of a call block.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parameters">Its parameters; a default is evaluated at each call.</param>
/// <param name="Body">Its body.</param>
/// <param name="UsesCaller">Whether the body names caller, which is what lets a call pass it; the same for the next two.</param>
/// <param name="UsesVarargs">Whether the body names varargs.</param>
/// <param name="UsesKwargs">Whether the body names kwargs.</param>
internal sealed record MacroDefinition(
    string Name, KeyValuePair<string, Expression?>[] Parameters, Statement[] Body, bool UsesCaller, bool UsesVarargs, bool UsesKwargs);

/// <summary>What an assignment can write to.</summary>
internal abstract record AssignTarget;

internal sealed record NameTarget(string Name) : AssignTarget;

/// <summary>namespace.attribute.</summary>
internal sealed record NamespaceTarget(string Name, string Attribute) : AssignTarget;

internal sealed record TupleTarget(AssignTarget[] Items) : AssignTarget;
