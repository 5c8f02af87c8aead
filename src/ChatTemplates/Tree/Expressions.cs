using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Tree;

/// <summary>An expression of a template.</summary>
internal abstract record Expression;

internal sealed record ConstantExpression(Value Value) : Expression;

internal sealed record NameExpression(string Name) : Expression;

internal sealed record ListExpression(Expression[] Items) : Expression;

internal sealed record TupleExpression(Expression[] Items) : Expression;

internal sealed record DictExpression(KeyValuePair<Expression, Expression>[] Entries) : Expression;

internal sealed record UnaryExpression(UnaryOperator Operator, Expression Operand) : Expression;

internal sealed record BinaryExpression(BinaryOperator Operator, Expression Left, Expression Right) : Expression;

/// <summary>a ~ b ~ c.</summary>
internal sealed record ConcatExpression(Expression[] Parts) : Expression;

/// <summary>a &lt; b &lt; c: each operand is evaluated once.</summary>
internal sealed record CompareExpression(Expression First, KeyValuePair<CompareOperator, Expression>[] Rest) : Expression;

/// <summary>a if test else b; without else it is undefined where the test fails.</summary>
internal sealed record ConditionalExpression(Expression Test, Expression Then, Expression? Else) : Expression;

/// <summary>a.name.</summary>
internal sealed record AttributeExpression(Expression Target, string Name) : Expression;

/// <summary>a[key].</summary>
internal sealed record SubscriptExpression(Expression Target, Expression Key) : Expression;

/// <summary>The start:stop:step inside brackets.</summary>
internal sealed record SliceExpression(Expression? Start, Expression? Stop, Expression? Step) : Expression;

internal sealed record CallExpression(Expression Target, CallArguments Arguments) : Expression;

/// <summary>value|filter(arguments); the function is null where there is none of that name, which is a fault only when it is reached.</summary>
internal sealed record FilterExpression(Expression Target, FilterCall Filter) : Expression;

/// <summary>value is test(arguments).</summary>
internal sealed record TestExpression(Expression Target, string Name, NativeFunction? Function, CallArguments Arguments) : Expression;

/// <summary>A filter with its arguments, without the value it is applied to.</summary>
internal sealed record FilterCall(string Name, NativeFunction? Function, CallArguments Arguments);

/// <summary>The arguments of a call as written, * and ** included.</summary>
internal sealed record CallArguments(
    Expression[] Positional, KeyValuePair<string, Expression>[] Named, Expression? Unpacked, Expression? UnpackedNamed)
{
    public static readonly CallArguments None = new([], [], null, null);
}

internal enum UnaryOperator
{
    Not,
    Negate,
    Plus,
}

internal enum BinaryOperator
{
    Or,
    And,
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

internal enum CompareOperator
{
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
