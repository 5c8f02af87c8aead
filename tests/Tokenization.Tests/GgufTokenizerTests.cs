using System.Text.Json;
using NUnit.Framework;
using TpServe.Checkpoint;

namespace TpServe.Tokenization.Tests;

/// <summary>Tokenizers built from the vocabulary of a GGUF file.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class GgufTokenizerTests
{
    private static readonly GgufVocabulary Tiny = new()
    {
        Model = "gpt2",
        Pre = "gpt-2",
        Tokens = ["a", "b", "ab", "<|end|>", "Ġ"],
        Types = [1, 1, 1, 3, 1],
        Merges = ["a b"],
        BosId = 3,
    };

    [TestCase("smollm2-gguf", "smollm")]
    public void ByteLevelVocabulary_EveryVector_IsExact(string name, string pre)
    {
        Tokenizer tokenizer = Create(GgufVocabularyFixtures.FromTokenizerJson(TokenizerVectors.Golden($"{name}.tokenizer.json"), pre));
        TokenizerVectors.CheckVectors(tokenizer, TokenizerVectors.Golden($"{name}.jsonl"));
        TokenizerVectors.CheckDecodes(tokenizer, TokenizerVectors.Golden($"{name}.decode.jsonl"));
        TokenizerVectors.CheckStreams(tokenizer, TokenizerVectors.Golden($"{name}.stream.jsonl"));
    }

    // Trained tokenizers whose patterns have a name in GGUF files.
    [TestCase("bpe-gpt2", "gpt-2", null)]
    [TestCase("bpe-smollm-digits", "smollm", null)]
    [TestCase("bpe-llama3-ignore-merges", "llama-bpe", 1500)]
    [TestCase("bpe-qwen2-nfc", "qwen2", null)]
    [TestCase("bpe-o200k-removed-invert", "gpt-4o", null)]
    public void ByteLevelVocabulary_NamedPattern_IsExact(string name, string pre, int? bos)
    {
        GgufVocabulary vocabulary = GgufVocabularyFixtures.FromTokenizerJson(TokenizerVectors.Golden($"trained/{name}/tokenizer.json"), pre);
        TokenizerVectors.CheckVectors(Create(vocabulary with { BosId = bos }), TokenizerVectors.Golden($"trained/{name}/vectors.jsonl"));
    }

    [Test]
    public void SentencePieceVocabulary_EveryVector_IsExact()
    {
        Tokenizer tokenizer = Create(GgufVocabularyFixtures.FromSentencePiece(TokenizerVectors.Golden("sentencepiece/llama-spm-q8_0.model")));
        List<string> faults = [];
        int rows = 0;
        foreach (JsonElement row in TokenizerVectors.Rows(TokenizerVectors.Golden("sentencepiece/llama-spm-q8_0.jsonl")))
        {
            rows++;
            string text = row.GetProperty("text").GetString()!;
            int[] ids = TokenizerVectors.Ids(row, "ids");
            IReadOnlyList<int> actual = tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: false);
            if (!ids.SequenceEqual(actual))
                faults.Add($"{JsonSerializer.Serialize(text)}: {string.Join(',', ids)} but {string.Join(',', actual)}");
            if (!TokenizerVectors.Ids(row, "ids_special").SequenceEqual(tokenizer.Encode(text, addSpecialTokens: true, parseSpecialTokens: false)))
                faults.Add($"{JsonSerializer.Serialize(text)} with special tokens");
            if (tokenizer.Decode(ids, skipSpecialTokens: false) != row.GetProperty("decoded").GetString())
                faults.Add($"{JsonSerializer.Serialize(text)} decodes to {JsonSerializer.Serialize(tokenizer.Decode(ids, skipSpecialTokens: false))}");
        }
        Assert.That(rows, Is.GreaterThan(200));
        Assert.That(faults, Is.Empty, string.Join('\n', faults.Take(8)));
    }

    [Test]
    public void SentencePieceVocabulary_ControlToken_IsFoundOnlyInTrustedText()
    {
        Tokenizer tokenizer = Create(GgufVocabularyFixtures.FromSentencePiece(TokenizerVectors.Golden("sentencepiece/llama-spm-q8_0.model")));
        Assert.That(tokenizer.Encode("</s>", addSpecialTokens: true, parseSpecialTokens: true), Is.EqualTo(new[] { 1, 2 }));
        Assert.That(tokenizer.Encode("</s>", addSpecialTokens: true, parseSpecialTokens: false), Does.Not.Contain(2));
    }

    [Test]
    public void UnusedPiece_OnTheWayToNone_IsTakenApart()
    {
        Tokenizer tokenizer = Create(new GgufVocabulary
        {
            Model = "llama",
            Tokens = ["<unk>", "a", "b", "c", "ab", "abc"],
            Scores = [0, -9, -9, -9, -1, -2],
            Types = [2, 1, 1, 1, 5, 1],
            UnknownId = 0,
            AddBos = false,
            AddSpacePrefix = false,
        });
        Assert.That(tokenizer.Encode("abc", addSpecialTokens: true, parseSpecialTokens: false), Is.EqualTo(new[] { 5 }));
        Assert.That(tokenizer.Encode("abxy", addSpecialTokens: true, parseSpecialTokens: false), Is.EqualTo(new[] { 1, 2, 0 }));
    }

    [Test]
    public void UnknownPatternName_Create_ListsTheKnownOnes()
    {
        TokenizerException fault = Assert.Throws<TokenizerException>(() => Create(Tiny with { Pre = "from-the-future" }))!;
        Assert.That(fault.Message, Does.Contain("from-the-future").And.Contain("smollm").And.Contain("llama-bpe"));
    }

    [Test]
    public void KnownPatternNames_Create_AllCompile()
    {
        string list = Assert.Throws<TokenizerException>(() => Create(Tiny with { Pre = "?" }))!.Message.Split("these are: ")[1].TrimEnd('.');
        foreach (string pre in list.Split(", "))
            Assert.That(Create(Tiny with { Pre = pre }).Encode("ab a", false, false), Is.EqualTo(new[] { 2, 4, 0 }), pre);
    }

    [Test]
    public void AddBos_GivenOrByPattern_PutsItInFront()
    {
        Assert.That(Create(Tiny).Encode("ab", true, false), Is.EqualTo(new[] { 2 }));
        Assert.That(Create(Tiny with { AddBos = true }).Encode("ab", true, false), Is.EqualTo(new[] { 3, 2 }));
        Assert.That(Create(Tiny with { Pre = "llama-bpe" }).Encode("ab", true, false), Is.EqualTo(new[] { 3, 2 }));
        Assert.That(Create(Tiny with { Pre = "llama-bpe", AddBos = false }).Encode("ab", true, false), Is.EqualTo(new[] { 2 }));
    }

    private static readonly (string Wanted, GgufVocabulary Vocabulary)[] Malformed =
    [
        ("tokenizer.ggml.model 'bert'", Tiny with { Model = "bert" }),
        ("is empty", Tiny with { Tokens = [], Types = [] }),
        ("token_type has 2 entries for 5", Tiny with { Types = [1, 1] }),
        ("bos_token_id is 9", Tiny with { BosId = 9 }),
        ("no bos_token_id", Tiny with { BosId = null, AddBos = true }),
        ("merge 0 is 'ab'", Tiny with { Merges = ["ab"] }),
        ("needs the token 'z'", Tiny with { Merges = ["a z"] }),
        ("scores has 0 entries", Tiny with { Model = "llama" }),
    ];

    private static IEnumerable<TestCaseData> MalformedCases =>
        Malformed.Select(malformed => new TestCaseData(malformed.Wanted, malformed.Vocabulary).SetArgDisplayNames(malformed.Wanted));

    [TestCaseSource(nameof(MalformedCases))]
    public void MalformedVocabulary_Create_SaysWhat(string wanted, GgufVocabulary vocabulary) =>
        Assert.That(Assert.Throws<TokenizerException>(() => Create(vocabulary))!.Message, Does.Contain(wanted));

    private static Tokenizer Create(GgufVocabulary vocabulary) => Tokenizer.Create(new TokenizerFiles { Vocabulary = vocabulary });
}
