using NUnit.Framework;
using TpServe.Checkpoint;

namespace TpServe.Tokenization.Tests;

/// <summary>tokenizer.json files against the reference library's results: every id and every character.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class GoldenTokenizerTests
{
    private static readonly string[] Trained =
    [
        "bpe-added-token-flags", "bpe-deepseek-splits", "bpe-gpt2", "bpe-llama3-ignore-merges", "bpe-llama3-no-ignore-merges", "bpe-o200k-removed-invert",
        "bpe-qwen2-nfc", "bpe-roberta-prefix-space", "bpe-smollm-digits", "spm-bpe-gemma", "spm-bpe-llama2-legacy", "spm-bpe-metaspace-always-unk",
        "spm-bpe-metaspace-first", "unigram-byte-fallback", "unigram-t5", "wordpiece-bert-uncased",
    ];

    [TestCaseSource(nameof(Trained))]
    public void TrainedTokenizer_EveryVector_IsExact(string name) =>
        TokenizerVectors.CheckVectors(Load(name), TokenizerVectors.Golden($"trained/{name}/vectors.jsonl"));

    [TestCaseSource(nameof(Trained))]
    public void TrainedTokenizer_ArbitraryIds_DecodeExactly(string name) =>
        TokenizerVectors.CheckDecodes(Load(name), TokenizerVectors.Golden($"trained/{name}/decode.jsonl"));

    [TestCaseSource(nameof(Trained))]
    public void TrainedTokenizer_TokenByToken_StreamsExactly(string name) =>
        TokenizerVectors.CheckStreams(Load(name), TokenizerVectors.Golden($"trained/{name}/stream.jsonl"));

    [Test]
    public void SmolLm2TokenizerJson_EveryVector_IsExact()
    {
        Tokenizer tokenizer = LoadFile(TokenizerVectors.Golden("smollm2-gguf.tokenizer.json"));
        TokenizerVectors.CheckVectors(tokenizer, TokenizerVectors.Golden("smollm2-gguf.jsonl"));
        TokenizerVectors.CheckDecodes(tokenizer, TokenizerVectors.Golden("smollm2-gguf.decode.jsonl"));
        TokenizerVectors.CheckStreams(tokenizer, TokenizerVectors.Golden("smollm2-gguf.stream.jsonl"));
    }

    internal static Tokenizer Load(string name) => LoadFile(TokenizerVectors.Golden($"trained/{name}/tokenizer.json"));

    internal static Tokenizer LoadFile(string path) => Tokenizer.Create(new TokenizerFiles { TokenizerJson = File.ReadAllBytes(path) });
}
