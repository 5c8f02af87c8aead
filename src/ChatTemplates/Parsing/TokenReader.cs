using System.Runtime.CompilerServices;
using TpServe.ChatTemplates.Lexing;

namespace TpServe.ChatTemplates.Parsing;

/// <summary>The token stream of a parser, and its bound on nesting.</summary>
internal sealed class TokenReader(List<Token> tokens)
{
    /// <summary>Brackets, signs and blocks inside each other; real templates stay below 20.</summary>
    public const int MaxNesting = 120;

    private int _at;
    private int _nesting;

    public Token Current => tokens[_at];

    public Token Following => tokens[Math.Min(_at + 1, tokens.Count - 1)];

    /// <summary>The current token; the next one becomes current.</summary>
    public Token Take()
    {
        Token token = tokens[_at];
        if (token.Kind != TokenKind.End)
            _at++;
        return token;
    }

    public bool TryTakeName(string name)
    {
        if (!Current.IsName(name))
            return false;
        _at++;
        return true;
    }

    public bool TryTakeOperator(string op)
    {
        if (!Current.IsOperator(op))
            return false;
        _at++;
        return true;
    }

    public Token Expect(TokenKind kind, string what) => Current.Kind == kind ? Take() : throw Fail($"expected {what}, got {Current.Describe()}");

    public void ExpectName(string name)
    {
        if (!TryTakeName(name))
            throw Fail($"expected '{name}', got {Current.Describe()}");
    }

    public void ExpectOperator(string op)
    {
        if (!TryTakeOperator(op))
            throw Fail($"expected '{op}', got {Current.Describe()}");
    }

    /// <summary>Goes one construct deeper; <see cref="Leave"/> follows.</summary>
    public void Enter()
    {
        if (++_nesting > MaxNesting || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new ChatTemplateException(
                ChatTemplateErrorReason.LimitExceeded, $"The template nests deeper than the limit of {MaxNesting}.", Current.Line);
    }

    public void Leave() => _nesting--;

    public ChatTemplateException Fail(string message, int? line = null) => new(ChatTemplateErrorReason.Syntax, message, line ?? Current.Line);
}
