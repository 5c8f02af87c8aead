using NUnit.Framework;
using TpServe.Grammar.Masks;

namespace TpServe.Grammar.Tests;

/// <summary>Masks against trying every token.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class MaskTests
{
    private static readonly (string Name, Func<OutputGrammar> Make)[] Grammars =
    [
        ("regex", () => OutputGrammar.FromRegex("[a-z]{2,5}(é|日|😀)*[0-9]+(\\.[0-9]{1,2})?")),
        ("any text", () => OutputGrammar.FromRegex("(.|\\n)*")),
        ("choices", () => OutputGrammar.FromChoices(["name", "nam", "12", "true,", "a b", "日本"])),
        ("gbnf json", () => OutputGrammar.FromGbnf(GbnfTests.Json)),
        ("gbnf arithmetic", () => OutputGrammar.FromGbnf(GbnfTests.Arithmetic)),
        ("gbnf ambiguous", () => OutputGrammar.FromGbnf("root ::= (x | y)+\nx ::= \"(\" x \")\" | \"a\" | \"ab\"\ny ::= \"(\" y \")\" | \"a\"+")),
        ("gbnf nullable", () => OutputGrammar.FromGbnf("root ::= a b a\na ::= \"[\" a \"]\" | \"\"\nb ::= \"{\" b \"}\" | \"1\"?")),
        ("gbnf shallow", () => OutputGrammar.FromGbnf("root ::= \"[\" root \"]\" | \"a\"", GrammarLimits.Default with { StackDepth = 5 })),
        ("object", () => OutputGrammar.JsonObject()),
        ("lengths", () => OutputGrammar.FromJsonSchema("""{"type":"array","items":{"type":"string","minLength":3,"maxLength":6}}""")),
        ("one length", () => OutputGrammar.FromJsonSchema("""{"type":"string","minLength":2}""")),
        ("long", () => OutputGrammar.FromJsonSchema("""{"type":"object","properties":{"a":{"type":"string","maxLength":40},"ab":{"type":"integer"},"name":{"enum":["a","ab","é"]}},"required":["a"],"additionalProperties":{"type":"null"}}""")),
        ("patterns", () => OutputGrammar.FromJsonSchema("""{"type":"array","items":{"type":"string","pattern":"^a.{1,4}1$"}}""")),
    ];

    private static IEnumerable<TestCaseData> Cases => Grammars.Select(grammar => new TestCaseData(grammar.Name));

    [TestCaseSource(nameof(Cases))]
    public void Mask_RandomStates_EqualsBruteForce(string name)
    {
        OutputGrammar grammar = Grammars.First(entry => entry.Name == name).Make();
        int compared = 0;
        for (int seed = 0; seed < 30; seed++)
            Walks.Run(grammar, Vocabularies.Small, seed, mostTokens: 40, (matcher, _) =>
            {
                Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)), $"seed {seed}, {compared} masks before");
                compared++;
            });
        Assert.That(compared, Is.GreaterThan(30));
    }

    [Test]
    public void Mask_RealVocabulary_EqualsBruteForce()
    {
        OutputGrammar grammar = OutputGrammar.FromJsonSchema(
            """{"type":"object","properties":{"title":{"type":"string","maxLength":12},"tags":{"type":"array","items":{"type":"string"}},"n":{"type":"number"}},"required":["title","tags"]}""");
        int compared = 0;
        for (int seed = 0; seed < 4; seed++)
            Walks.Run(grammar, Vocabularies.SmolLm2, seed, mostTokens: 40, (matcher, random) =>
            {
                if (random.Next(4) != 0)
                    return;
                compared++;
                Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)), $"seed {seed}");
            });
        Assert.That(compared, Is.GreaterThan(10));
    }

    [Test]
    public void Mask_TinyCache_EqualsBruteForce()
    {
        OutputGrammar grammar = OutputGrammar.JsonObject(GrammarLimits.Default with { MaskCacheBytes = 1000 });
        for (int seed = 0; seed < 10; seed++)
            Walks.Run(grammar, Vocabularies.Small, seed, mostTokens: 30, (matcher, _) =>
                Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher))));
    }

    [Test]
    public void Matcher_RefusedToken_LeavesItUnchanged()
    {
        GrammarMatcher matcher = OutputGrammar.FromRegex("ab|ac").NewMatcher(Vocabularies.Small);
        ulong[] before = Vocabularies.Mask(matcher);
        Assert.That(matcher.AdvanceBytes("ad"u8), Is.False);
        Assert.That(matcher.Advance(0), Is.False, "a token without bytes");
        Assert.That(matcher.Advance(-1), Is.False);
        Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(before));
        GrammarMatcher copy = matcher.Clone();
        Assert.That(copy.AdvanceBytes("ab"u8), Is.True);
        Assert.That((copy.IsComplete, matcher.IsComplete), Is.EqualTo((true, false)));
        Assert.That(() => matcher.FillMask(new ulong[1]), Throws.ArgumentException);
    }

    [Test]
    public void ForcedTokens_KeysOfAnObject_AreWrittenWithoutTheModel()
    {
        OutputGrammar grammar = OutputGrammar.FromJsonSchema("""{"type":"object","properties":{"description":{"const":"fixed"}},"required":["description"],"additionalProperties":false}""");
        GrammarMatcher matcher = grammar.NewMatcher(Vocabularies.SmolLm2);
        Assert.That(System.Text.Encoding.UTF8.GetString(matcher.ForcedBytes()), Is.EqualTo("{\"description\":"));
        IReadOnlyList<int> tokens = matcher.ForcedTokens();
        Assert.That(tokens, Is.Not.Empty);
        foreach (int token in tokens)
            Assert.That(matcher.Advance(token), Is.True);
    }

    [Test]
    public void Trie_EveryToken_IsFoundAtItsBytes()
    {
        TokenTrie trie = Vocabularies.Small;
        int found = 0;
        for (int token = 0; token < trie.VocabularySize; token++)
        {
            int node = 0;
            foreach (byte value in trie.BytesOf(token))
                node = trie.Child(node, value);
            if (node != 0)
            {
                Assert.That(trie.TokensAt(node).ToArray(), Does.Contain(token));
                found++;
            }
        }
        Assert.That(found, Is.EqualTo(trie.VocabularySize - 2));
    }
}
