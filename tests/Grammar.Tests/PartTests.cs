using System.Text;
using NUnit.Framework;
using TpServe.Grammar.Masks;
using TpServe.Grammar.Parts;
using TpServe.Testing;
using TpServe.Tokenization;

namespace TpServe.Grammar.Tests;

/// <summary>Outputs put together of parts.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class PartTests
{
    private static readonly GrammarPart s_call = new GrammarPart.Sequence(
        new GrammarPart.Without("<c>"), new GrammarPart.Text("<c>"), new GrammarPart.Schema("""{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}""", "f"), new GrammarPart.Text("</c>"));

    [TestCase("<c>{\"a\":1}</c>", true)]
    [TestCase("some <text> <c<c>{\"a\": 12}</c>", true)]
    [TestCase("é日😀<c>{\"a\":1}</c>", true)]
    [TestCase("<c><c>{\"a\":1}</c>", false)]
    [TestCase("<c>{\"a\":1}</c>x", false)]
    [TestCase("words", false)]
    public void Parts_OfACall_AcceptIt(string text, bool accepted) => Assert.That(OutputGrammar.FromParts(s_call).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [TestCase("", true)]
    [TestCase("aab", true)]
    [TestCase("aabab", true)]
    [TestCase("xaaabaab", false)]
    [TestCase("aaab", true)]
    [TestCase("aabaab", false)]
    [TestCase("aabaaba", false)]
    public void Without_AMarkThatOverlapsItself_AcceptsTextsThatLackIt(string text, bool accepted) =>
        Assert.That(OutputGrammar.FromParts(new GrammarPart.Without("aabaab")).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [TestCase("ab", true)]
    [TestCase("ab,ab,b", true)]
    [TestCase("b", true)]
    [TestCase("ab,", false)]
    [TestCase("abab", false)]
    [TestCase("", false)]
    public void Repeat_OfAChoice_HasTheOtherBetween(string text, bool accepted) => Assert.That(
        OutputGrammar.FromParts(new GrammarPart.Repeat(new GrammarPart.Choice(new GrammarPart.Text("ab"), new GrammarPart.Regex("b")), new GrammarPart.Text(","))).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [Test]
    public void Fault_InASchema_NamesItsPart()
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => OutputGrammar.FromParts(new GrammarPart.Choice(s_call, new GrammarPart.Schema("""{"not":{}}""", "g"))))!;
        Assert.That((fault.Part, fault.Subject, fault.Place), Is.EqualTo(("g", "not", "#")));
    }

    [Test]
    public void Special_Token_IsAllowedWhereItIsNamedAndNowhereElse()
    {
        Tokenizer tokenizer = Tokenizer.Create(new Checkpoint.TokenizerFiles { TokenizerJson = File.ReadAllBytes(TestData.Local("tokenizers/smollm2-gguf.tokenizer.json")) });
        TokenTrie trie = Vocabularies.SmolLm2;
        int special = tokenizer.IdOf("<|im_start|>")!.Value;
        GrammarMatcher matcher = OutputGrammar.FromParts(new GrammarPart.Sequence(new GrammarPart.Regex("[a-z]*"), new GrammarPart.Special(special), new GrammarPart.Without(null))).NewMatcher(trie);
        List<int> first = Vocabularies.Tokens(Vocabularies.Mask(matcher));
        Assert.That(first.Where(tokenizer.IsSpecial), Is.EqualTo(new[] { special }));
        Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)));
        Assert.That(matcher.Advance(special), Is.True);
        Assert.That(Vocabularies.Tokens(Vocabularies.Mask(matcher)).Where(tokenizer.IsSpecial), Is.Empty, "free text has none");
        Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)));
        Assert.That(OutputGrammar.FromRegex("(.|\\n)*").Accepts(SpecialTokens.BytesOf(special)), Is.False);
    }

    [Test]
    public void Masks_OfParts_EqualBruteForce()
    {
        OutputGrammar grammar = OutputGrammar.FromParts(s_call);
        for (int seed = 0; seed < 10; seed++)
            Walks.Run(grammar, Vocabularies.Small, seed, mostTokens: 40, (matcher, _) => Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)), $"seed {seed}"));
    }
}
