using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>A regular expression as a tree.</summary>
internal abstract record PatternNode
{
    /// <summary>Code points of every match, or null where matches differ in length. Lookbehind needs it.</summary>
    public abstract int? Width { get; }

    /// <summary>True where it may match without consuming: a loop over it must watch for standing still.</summary>
    public abstract bool MayBeEmpty { get; }

    /// <summary>A set that holds the first code point of every match, or null where there is none such: a cheap test before trying.</summary>
    public virtual CodePointSet? First => null;

    private const int WidestLookbehind = 1000;

    // Width and MayBeEmpty are computed once, when a node is made: asking again and again down a deep tree would take exponential time.
    private static int? Bounded(long? width) => width <= WidestLookbehind ? (int?)width : null;

    private static CodePointSet Together(IEnumerable<PatternNode> nodes) => CodePointSet.FromRanges(nodes.SelectMany(node => node.First!.Ranges));

    // Leading parts that may be empty but for optional sets are no help; those and the first part that must consume make up the set.
    private static CodePointSet? FirstOf(IReadOnlyList<PatternNode> parts)
    {
        List<PatternNode> leading = [];
        foreach (PatternNode part in parts)
        {
            PatternNode consuming = part is Repeat { Min: 0, Body: Set body } ? body : part;
            if (consuming.First is null)
                return null;
            leading.Add(consuming);
            if (!part.MayBeEmpty)
                return Together(leading);
        }
        return null;
    }

    /// <summary>One code point of a set.</summary>
    public sealed record Set(CodePointSet Members) : PatternNode
    {
        public override int? Width => 1;
        public override bool MayBeEmpty => false;
        public override CodePointSet? First => Members;
    }

    /// <summary>One after the other.</summary>
    public sealed record Sequence(IReadOnlyList<PatternNode> Parts) : PatternNode
    {
        public override int? Width { get; } = Parts.Aggregate((int?)0, (sum, part) => Bounded(sum + part.Width));
        public override bool MayBeEmpty { get; } = Parts.All(part => part.MayBeEmpty);
        public override CodePointSet? First { get; } = FirstOf(Parts);
    }

    /// <summary>The first alternative that lets the whole match.</summary>
    public sealed record Alternation(IReadOnlyList<PatternNode> Choices) : PatternNode
    {
        public override int? Width { get; } = Choices.All(choice => choice.Width == Choices[0].Width) ? Choices[0].Width : null;
        public override bool MayBeEmpty { get; } = Choices.Any(choice => choice.MayBeEmpty);
        public override CodePointSet? First { get; } = Choices.All(choice => choice.First is not null) ? Together(Choices) : null;
    }

    /// <summary>Min to Max times; Max is int.MaxValue where there is no limit.</summary>
    public sealed record Repeat(PatternNode Body, int Min, int Max, RepeatKind Kind) : PatternNode
    {
        public override int? Width { get; } = Min == Max ? Bounded((long?)Body.Width * Min) : null;
        public override bool MayBeEmpty { get; } = Min == 0 || Body.MayBeEmpty;
        public override CodePointSet? First => MayBeEmpty ? null : Body.First;
    }

    /// <summary>A look at what follows or precedes, consuming nothing.</summary>
    public sealed record Look(PatternNode Body, bool Behind, bool Negative) : PatternNode
    {
        public override int? Width => 0;
        public override bool MayBeEmpty => true;
    }

    /// <summary>(?&gt;…): once matched, never reconsidered.</summary>
    public sealed record Atomic(PatternNode Body) : PatternNode
    {
        public override int? Width => Body.Width;
        public override bool MayBeEmpty => Body.MayBeEmpty;
    }

    /// <summary>A condition on the position.</summary>
    public sealed record Anchor(AnchorKind Kind) : PatternNode
    {
        public override int? Width => 0;
        public override bool MayBeEmpty => true;
    }
}

/// <summary>In which order a repetition tries its counts.</summary>
internal enum RepeatKind
{
    /// <summary>Most first.</summary>
    Greedy,

    /// <summary>Fewest first.</summary>
    Lazy,

    /// <summary>Most, and nothing else.</summary>
    Possessive,
}

/// <summary>Conditions on a position.</summary>
internal enum AnchorKind
{
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    TextEndOrLastNewline,
    WordBoundary,
    NotWordBoundary,
}
