namespace TpServe.Grammar;

/// <summary>What a constraint may cost: texts of strangers are compiled within these bounds or refused with <see cref="GrammarErrorKind.Limit"/>.</summary>
public sealed record GrammarLimits
{
    /// <summary>The bounds that are used where none are given.</summary>
    public static GrammarLimits Default { get; } = new();

    /// <summary>UTF-16 characters of a schema, pattern, grammar, or of all choices together.</summary>
    public int TextChars { get; init; } = 1 << 20;

    /// <summary>How deep a schema, pattern or grammar may nest.</summary>
    public int Depth { get; init; } = 128;

    /// <summary>States of all automata of a grammar, before and after they are made deterministic.</summary>
    public int States { get; init; } = 400_000;

    /// <summary>Elementary operations of a compilation: the bound that repeats on every machine.</summary>
    public long Work { get; init; } = 40_000_000;

    /// <summary>How long a compilation may take, whatever its work.</summary>
    public TimeSpan CompileTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The largest count in a pattern's or grammar's {m,n}, and of items and properties in a schema.</summary>
    public int Repeat { get; init; } = 20_000;

    /// <summary>How deep the output may nest: the frames of the pushdown.</summary>
    public int StackDepth { get; init; } = 96;

    /// <summary>How many readings of the same output an ambiguous grammar may have at once.</summary>
    public int Readings { get; init; } = 512;

    /// <summary>Bytes that the cached masks of one grammar over one vocabulary may hold.</summary>
    public long MaskCacheBytes { get; init; } = 64 << 20;
}
