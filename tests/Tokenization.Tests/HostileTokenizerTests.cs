using System.Text;
using NUnit.Framework;
using TpServe.Checkpoint;

namespace TpServe.Tokenization.Tests;

/// <summary>Files that are malformed or made to harm, and texts that are made to be slow.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class HostileTokenizerTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2); // quadratic work on these texts would take hours

    private static readonly (string Wanted, string Json)[] Malformed =
    [
        ("not valid JSON", "{"),
        ("not valid JSON", new string('[', 100_000)),
        ("no 'model'", "{}"),
        ("no 'type'", """{"model":{}}"""),
        ("'Neural' is not supported; these are: BPE", """{"model":{"type":"Neural"}}"""),
        ("no 'vocab'", """{"model":{"type":"BPE","merges":[]}}"""),
        ("must be an object", """{"model":{"type":"BPE","vocab":[],"merges":[]}}"""),
        ("must be an integer", """{"model":{"type":"BPE","vocab":{"a":"b"},"merges":[]}}"""),
        ("must be between 0", """{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}"""),
        ("ids run from 0", """{"model":{"type":"BPE","vocab":{"a":2147483647},"merges":[]}}"""),
        ("half of a surrogate pair", """{"model":{"type":"BPE","vocab":{"\ud800":0},"merges":[]}}"""),
        ("half of a surrogate pair", """{"model":{"type":"Unigram","\uD800":0,"vocab":[["a",0.5]]}}"""),
        ("half of a surrogate pair", """{"added_\udc00":0,"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"""),
        ("ids run from 0 to 16392 where there are 1 tokens", """{"model":{"type":"BPE","vocab":{"a":4000000},"merges":[]}}"""),
        ("added_tokens[].id is 4000000; ids run from 0 to 16400", With("\"added_tokens\":[{\"id\":4000000,\"content\":\"x\"}]")),
        ("token 0 has 5000 characters", $$$"""{"model":{"type":"BPE","vocab":{"{{{new string('a', 5000)}}}":0},"merges":[]}}"""),
        ("merge 0 is 'a'", """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}"""),
        ("must be two tokens", """{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}"""),
        ("needs the token 'aa'", """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}}"""),
        ("unk_token 'u'", """{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"u"}}"""),
        ("finite number", """{"model":{"type":"Unigram","vocab":[["a","b"]]}}"""),
        ("must be between 0 and 0", """{"model":{"type":"Unigram","vocab":[["a",0.5]],"unk_id":7}}"""),
        ("a list of pieces", """{"model":{"type":"Unigram","vocab":[]}}"""),
        ("no 'unk_token'", """{"model":{"type":"WordPiece","vocab":{"a":0}}}"""),
        ("normalizer.type 'Nmt'", With("\"normalizer\":{\"type\":\"Nmt\"}")),
        ("more than 64 steps", With($"\"normalizer\":{Nested("normalizers", 40, "{\"type\":\"NFC\"},{\"type\":\"NFC\"}")}")),
        ("has a group that is not closed", With("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}")),
        ("Removed, Isolated", With("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Eaten\"}")),
        ("not empty", With("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Removed\"}")),
        ("one character", With("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}")),
        ("always, first or never", With("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"often\"}")),
        ("'CTC'", With("\"decoder\":{\"type\":\"CTC\"}")),
        ("lengthen a text", With("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[" + string.Join(',', Enumerable.Repeat(
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}", 40)) + "]}")),
        ("id 9, which has no token", With("\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"a\",0],\"cls\":[\"z\",9]}")),
        ("Sequence A", With("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]}")),
        ("no 'content'", With("\"added_tokens\":[{\"id\":1}]")),
        ("added_tokens[].id is 99999999", With("\"added_tokens\":[{\"id\":99999999,\"content\":\"x\"}]")),
        ("true or false", With("\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"special\":1}]")),
    ];

    private static IEnumerable<TestCaseData> MalformedCases =>
        Malformed.Select((malformed, i) => new TestCaseData(malformed.Wanted, malformed.Json).SetArgDisplayNames(i.ToString(System.Globalization.CultureInfo.InvariantCulture), malformed.Wanted));

    [TestCaseSource(nameof(MalformedCases))]
    public void MalformedFile_Create_SaysWhatIsWrong(string wanted, string json) =>
        Assert.That(Assert.Throws<TokenizerException>(() => TokenizerTests.Create(json))!.Message, Does.Contain(wanted));

    [Test]
    public void TruncatedFile_AtAnyLength_IsATypedError()
    {
        byte[] json = File.ReadAllBytes(TokenizerVectors.Golden("trained/bpe-smollm-digits/tokenizer.json"));
        for (int length = 0; length < json.Length - 2; length += 97)
            Assert.Throws<TokenizerException>(() => Tokenizer.Create(new TokenizerFiles { TokenizerJson = json.AsMemory(0, length) }), $"{length} bytes");
    }

    [Test]
    public void InvalidUtf8_InANameOrAText_IsATypedError()
    {
        foreach (string place in new[] { "\"vocab\":{\"?\":0}", "\"vocab\":{\"a\":0},\"unk_token\":\"?\"", "\"vocab\":{\"a\":0},\"?\":1" })
        {
            byte[] json = Encoding.Latin1.GetBytes("{\"model\":{\"type\":\"BPE\",\"merges\":[]," + place.Replace('?', '\u00FF') + "}}");
            Assert.That(Assert.Throws<TokenizerException>(() => Tokenizer.Create(new TokenizerFiles { TokenizerJson = json }), place)!.Message, Does.Contain("not valid UTF-8"));
        }
    }

    [Test]
    public void ByteOrderMark_BeforeTheFile_IsPassedOver()
    {
        byte[] json = [0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(With("\"decoder\":null"))];
        Assert.That(Tokenizer.Create(new TokenizerFiles { TokenizerJson = json }).Encode("a", false, false), Is.EqualTo(new[] { 0 }));
    }

    [Test]
    public void GrowingNormalizer_Encode_IsStopped()
    {
        string doubling = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}";
        Tokenizer tokenizer = TokenizerTests.Create(With("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" + string.Join(',', Enumerable.Repeat(doubling, 60)) + "]}"));
        Assert.That(Assert.Throws<TokenizerException>(() => tokenizer.Encode(new string('a', 1000), false, false))!.Message, Does.Contain("lengthens"));
    }

    [Test]
    public void GrowingPreTokenizer_Encode_IsStopped()
    {
        string bytes = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
        Tokenizer tokenizer = TokenizerTests.Create(With("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" + string.Join(',', Enumerable.Repeat(bytes, 60)) + "]}"));
        Assert.That(Assert.Throws<TokenizerException>(() => tokenizer.Encode("é", false, false))!.Message, Does.Contain("lengthens"));
    }

    // A megabyte without a break is one word to some models and one piece to all their patterns.
    [TestCase("bpe-gpt2", "a")]
    [TestCase("bpe-gpt2", " ")]
    [TestCase("bpe-llama3-no-ignore-merges", "\n ")]
    [TestCase("bpe-o200k-removed-invert", "Aa")]
    [TestCase("bpe-o200k-removed-invert", "中")]
    [TestCase("bpe-deepseek-splits", "!")]
    [TestCase("spm-bpe-llama2-legacy", "ab")]
    [TestCase("spm-bpe-gemma", "\n")]
    [TestCase("spm-bpe-gemma", "é")]
    [TestCase("unigram-byte-fallback", "a")]
    [TestCase("wordpiece-bert-uncased", "a")]
    [TestCase("sentencepiece", "ab")]
    public void MegabyteWithoutABreak_Encode_IsNearLinear(string name, string unit)
    {
        Tokenizer tokenizer = name == "sentencepiece"
            ? Tokenizer.Create(new TokenizerFiles { Vocabulary = GgufVocabularyFixtures.FromSentencePiece(TokenizerVectors.Golden("sentencepiece/llama-spm-q8_0.model")) })
            : GoldenTokenizerTests.Load(name);
        string text = new StringBuilder().Insert(0, unit, 1_000_000 / unit.Length).ToString();
        Task<IReadOnlyList<int>> encoding = Task.Run(() => tokenizer.Encode(text, false, false));
        Assert.That(encoding.Wait(Patience), Is.True, $"encoding took more than {Patience}");
        Assert.That(encoding.Result, Is.Not.Empty);
    }

    private static string With(string member) => $$$"""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},{{{member}}}}""";

    private static string Nested(string name, int depth, string inner)
    {
        string json = $"{{\"type\":\"Sequence\",\"{name}\":[{inner}]}}";
        for (int i = 1; i < 20; i++)
            json = $"{{\"type\":\"Sequence\",\"{name}\":[{string.Join(',', Enumerable.Repeat(inner, depth / 20))},{json}]}}";
        return json;
    }
}
