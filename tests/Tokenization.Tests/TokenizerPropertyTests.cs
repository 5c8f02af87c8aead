using System.Text;
using CsCheck;
using NUnit.Framework;
using TpServe.Checkpoint;

namespace TpServe.Tokenization.Tests;

/// <summary>Laws that hold for every text and every ids.</summary>
public sealed class TokenizerPropertyTests
{
    private const int Samples = 300;

    private static readonly string[] Lossless = ["bpe-gpt2", "bpe-deepseek-splits", "bpe-llama3-ignore-merges", "bpe-o200k-removed-invert", "bpe-smollm-digits"];

    private static readonly string[] All =
    [
        .. Lossless, "bpe-added-token-flags", "bpe-qwen2-nfc", "bpe-roberta-prefix-space", "spm-bpe-gemma", "spm-bpe-llama2-legacy",
        "spm-bpe-metaspace-always-unk", "spm-bpe-metaspace-first", "unigram-byte-fallback", "unigram-t5", "wordpiece-bert-uncased", "sentencepiece",
    ];

    private static readonly string[] Fragments =
    [
        " ", "\n", "\r\n", "\t", "  ", "'s", "'LL", "é", "e\u0301", "\u0323\u0301", "한", "\u1100\u1161\u11A8", "a", "the", " the", "123", "▁", "<0x41>", "<|endoftext|>",
        "<|im_end|>", "<|eot_id|>", "</s>", "[UNK]", "<S>", "[lstrip]", "[both]", "\uD800", "\uDC00", "\uFFFE", "ﬁ", "😀",
    ];

    // Letters, blanks, marks, every plane, lone surrogates, and texts that look like special tokens.
    private static readonly Gen<string> Text = Gen.OneOf(
        Gen.Char.Select(c => c.ToString()),
        Gen.Char[' ', '~'].Select(c => c.ToString()),
        Gen.Int[0x10000, 0x10FFFF].Select(char.ConvertFromUtf32),
        Gen.Int[0, Fragments.Length - 1].Select(i => Fragments[i]))
        .Array[0, 40].Select(string.Concat);

    [TestCaseSource(nameof(Lossless))]
    public void ByteLevel_DecodeOfEncode_IsTheText(string name)
    {
        Tokenizer tokenizer = Load(name);
        Text.Sample(
            text => tokenizer.Decode(tokenizer.Encode(text, false, true), false) == Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)) &&
                tokenizer.Decode(tokenizer.Encode(text, false, false), true) == Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)),
            iter: Samples, threads: 1);
    }

    [TestCaseSource(nameof(All))]
    public void Streaming_AnyIds_AddsUpToDecode(string name)
    {
        Tokenizer tokenizer = Load(name);
        Gen.Select(Gen.Int[-1, tokenizer.VocabularySize].Array[0, 60], Gen.Bool, Gen.Int[0, 60]).Sample(
            (ids, skip, cut) =>
            {
                StreamingDetokenizer stream = new(tokenizer, skip);
                string whole = tokenizer.Decode(ids, skip);
                bool adds = string.Concat(ids.Select(stream.Push)) + stream.Flush() == whole;
                int[] prompt = ids[..Math.Min(cut, ids.Length)];
                string before = tokenizer.Decode(prompt, skip);
                StreamingDetokenizer rest = new(tokenizer, skip, prompt);
                string pushed = string.Concat(ids.Skip(prompt.Length).Select(rest.Push)) + rest.Flush();
                return adds && (whole.StartsWith(before, StringComparison.Ordinal) ? pushed == whole[before.Length..] : whole.EndsWith(pushed, StringComparison.Ordinal));
            },
            iter: Samples, threads: 1);
    }

    [TestCaseSource(nameof(All))]
    public void Segments_AllOfOneKind_AreTheTextPutTogether(string name)
    {
        Tokenizer tokenizer = Load(name);
        Gen.Select(Text.Array[1, 4], Gen.Bool).Sample(
            (parts, trusted) => tokenizer.Encode([.. parts.Select(part => new TextSegment(part, trusted))], true)
                .SequenceEqual(tokenizer.Encode(string.Concat(parts), true, trusted)),
            iter: Samples, threads: 1);
    }

    [TestCaseSource(nameof(All))]
    public void EncodeWithin_AnyLimit_IsTheWholeOrNothing(string name)
    {
        Tokenizer tokenizer = Load(name);
        Gen.Select(Text, Gen.Int[0, 60], Gen.Bool, Gen.Bool).Sample(
            (text, most, adds, trusted) =>
            {
                IReadOnlyList<int> whole = tokenizer.Encode(text, adds, trusted);
                IReadOnlyList<int>? within = tokenizer.EncodeWithin(text, adds, trusted, most);
                return tokenizer.LeastIds(text) <= whole.Count && (whole.Count > most ? within is null : within is not null && within.SequenceEqual(whole));
            },
            iter: Samples, threads: 1);
    }

    [TestCaseSource(nameof(All))]
    public void Segments_NoneTrusted_GiveNoSpecialToken(string name)
    {
        Tokenizer tokenizer = Load(name);
        HashSet<int> unknown = [.. new[] { "[UNK]", "<unk>" }.Select(tokenizer.IdOf).OfType<int>()]; // the model's own answer to unknown text
        Text.Sample(
            text => !tokenizer.Encode([new TextSegment("x ", true), new TextSegment(text, false), new TextSegment(" x", true)], false)
                .Any(id => tokenizer.IsSpecial(id) && !unknown.Contains(id)),
            iter: Samples, threads: 1);
    }

    private static Tokenizer Load(string name) => name == "sentencepiece"
        ? Tokenizer.Create(new TokenizerFiles { Vocabulary = GgufVocabularyFixtures.FromSentencePiece(TokenizerVectors.Golden("sentencepiece/llama-spm-q8_0.model")) })
        : GoldenTokenizerTests.Load(name);
}
