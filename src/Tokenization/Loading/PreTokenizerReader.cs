using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.PreTokenizers;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Loading;

/// <summary>Builds the pre-tokenizer of tokenizer.json.</summary>
internal static class PreTokenizerReader
{
    public static IPreTokenizer Read(JsonPart part)
    {
        List<IPreTokenizer> steps = [.. part.Flatten("pretokenizers").Select(ReadStep)];
        return steps is [IPreTokenizer only] ? only : new PreTokenizerSequence(steps);
    }

    /// <summary>The prepend scheme of Metaspace, which its decoder has too; older files say add_prefix_space.</summary>
    public static PrependScheme Scheme(JsonPart part)
    {
        bool prefix = part.Flag("add_prefix_space", absent: true);
        return part.OptionalText("prepend_scheme") switch
        {
            null => prefix ? PrependScheme.Always : PrependScheme.Never,
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            _ => throw part.Required("prepend_scheme").Fault("always, first or never"),
        };
    }

    private static IPreTokenizer ReadStep(JsonPart part) => part.Type() switch
    {
        "ByteLevel" => new ByteLevelPreTokenizer(part.Flag("add_prefix_space", absent: true), part.Flag("use_regex", absent: true)),
        "Split" => new SplitPreTokenizer(Finder(part.Required("pattern")), Behavior(part.Required("behavior")), part.Flag("invert", absent: false)),
        "Metaspace" => ReadMetaspace(part),
        "Digits" => new SplitPreTokenizer(
            new ClassFinder(UnicodeClasses.Numeric), part.Flag("individual_digits", absent: false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous, invert: false),
        "Punctuation" => new SplitPreTokenizer(
            new ClassFinder(OlderUnicode.Punctuation), part.Optional("behavior") is JsonPart behavior ? Behavior(behavior) : SplitBehavior.Isolated, invert: false),
        "Whitespace" => new SplitPreTokenizer(new PatternFinder(WordsAndRest()), SplitBehavior.Removed, invert: true),
        "WhitespaceSplit" => AtWhiteSpace(),
        "BertPreTokenizer" => new PreTokenizerSequence(
            [AtWhiteSpace(), new SplitPreTokenizer(new ClassFinder(OlderUnicode.Punctuation), SplitBehavior.Isolated, invert: false)]),
        "CharDelimiterSplit" => new SplitPreTokenizer(new LiteralFinder(part.Required("delimiter").Character().ToString()), SplitBehavior.Removed, invert: false),
        _ => throw part.UnknownType(
            "Sequence", "ByteLevel", "Split", "Metaspace", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit"),
    };

    private static MetaspacePreTokenizer ReadMetaspace(JsonPart part) =>
        new(part.Required("replacement").Character(), Scheme(part), part.Flag("split", absent: true));

    private static ISpanFinder Finder(JsonPart pattern)
    {
        if (pattern.OptionalText("String") is not string literal)
            return new PatternFinder(Pattern.Parse(pattern.Required("Regex").Text()));
        return literal.Length > 0 ? new LiteralFinder(literal) : throw pattern.Required("String").Fault("a text that is not empty");
    }

    private static SplitBehavior Behavior(JsonPart part) => part.Text() switch
    {
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        _ => throw part.Fault("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"),
    };

    private static SplitPreTokenizer AtWhiteSpace() => new(new ClassFinder(UnicodeClasses.WhiteSpace), SplitBehavior.Removed, invert: false);

    // \w+|[^\w\s]+ with the word characters of Rust's regex crate.
    private static Pattern WordsAndRest()
    {
        PatternNode Run(CodePointSet members) => new PatternNode.Repeat(new PatternNode.Set(members), 1, int.MaxValue, RepeatKind.Greedy);
        return Pattern.FromNode(
            new PatternNode.Alternation([Run(UnicodeClasses.RustWord), Run(UnicodeClasses.RustWord.Union(UnicodeClasses.WhiteSpace).Complement())]),
            @"\w+|[^\w\s]+");
    }
}
