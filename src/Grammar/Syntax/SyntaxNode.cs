using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Syntax;

/// <summary>What a pattern or a grammar says, as a tree; the two text forms share it.</summary>
internal abstract record SyntaxNode
{
    public static SyntaxNode Nothing { get; } = new Sequence([]);

    /// <summary>One character of a set.</summary>
    public sealed record Chars(CharSet Set) : SyntaxNode;

    /// <summary>One after the other; none = the empty text.</summary>
    public sealed record Sequence(IReadOnlyList<SyntaxNode> Parts) : SyntaxNode;

    /// <summary>Any of them.</summary>
    public sealed record Choice(IReadOnlyList<SyntaxNode> Options) : SyntaxNode;

    /// <summary>Min to Max times; Max null = without end.</summary>
    public sealed record Repeat(SyntaxNode Inner, int Min, int? Max) : SyntaxNode;

    /// <summary>The place before the first character.</summary>
    public sealed record TextBegin : SyntaxNode;

    /// <summary>The place after the last character.</summary>
    public sealed record TextEnd : SyntaxNode;

    /// <summary>Another rule of the grammar.</summary>
    public sealed record Call(int Rule) : SyntaxNode;

    public static SyntaxNode Text(string text) => Of([.. text.EnumerateRunes().Select(rune => (SyntaxNode)new Chars(CharSet.Of(rune.Value, rune.Value)))]);

    public static SyntaxNode Of(IReadOnlyList<SyntaxNode> parts) => parts.Count == 1 ? parts[0] : new Sequence(parts);
}
