namespace TpServe.Grammar.Parts;

/// <summary>A piece of an output that is put together of texts, special tokens, values by a schema and free text.</summary>
public abstract record GrammarPart
{
    /// <summary>The empty text.</summary>
    public static GrammarPart Nothing { get; } = new Sequence();

    /// <summary>The part or nothing.</summary>
    public static GrammarPart Optional(GrammarPart part) => new Choice(Nothing, part);

    /// <summary>This text.</summary>
    public sealed record Text(string Value) : GrammarPart;

    /// <summary>This special token, which no text spells.</summary>
    public sealed record Special(int Token) : GrammarPart;

    /// <summary>JSON that a schema accepts.</summary>
    /// <param name="Json">The schema.</param>
    /// <param name="Name">What <see cref="GrammarException.Part"/> calls it.</param>
    public sealed record Schema(string Json, string Name) : GrammarPart;

    /// <summary>Text that matches a pattern from end to end.</summary>
    public sealed record Regex(string Pattern) : GrammarPart;

    /// <summary>Text of a grammar in llama.cpp's notation.</summary>
    public sealed record Gbnf(string Grammar) : GrammarPart;

    /// <summary>Any text in which this one does not stand; null = any text.</summary>
    public sealed record Without(string? Mark) : GrammarPart;

    /// <summary>One after the other.</summary>
    public sealed record Sequence(params IReadOnlyList<GrammarPart> Parts) : GrammarPart;

    /// <summary>Any of them.</summary>
    public sealed record Choice(params IReadOnlyList<GrammarPart> Parts) : GrammarPart;

    /// <summary>Once or more, with another part between.</summary>
    public sealed record Repeat(GrammarPart Part, GrammarPart Between) : GrammarPart;
}
