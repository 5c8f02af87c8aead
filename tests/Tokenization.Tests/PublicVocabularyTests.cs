using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Tokenization.Tests;

/// <summary>The vocabularies of public models, which are not ours to carry: tests/Data/tokenizers/fetch-vocabularies.sh fetches them.</summary>
[Category("Slow")]
public sealed class PublicVocabularyTests
{
    [TestCase("llama3")]
    [TestCase("llama3_1")]
    [TestCase("qwen3")]
    [TestCase("gptoss")]
    [TestCase("gpt4o")]
    [TestCase("deepseek_v3")]
    [TestCase("llama2")]
    [TestCase("gemma3")]
    public void PublicVocabulary_EveryVector_IsExact(string name)
    {
        string path = Path.Combine(TestData.Repository, ".goldens-cache", "tokenizers", $"{name}.json");
        if (!File.Exists(path))
            Assert.Ignore($"{path} is not there; run tests/Data/tokenizers/fetch-vocabularies.sh to fetch the public vocabularies.");
        Tokenizer tokenizer = GoldenTokenizerTests.LoadFile(path);
        TokenizerVectors.CheckVectors(tokenizer, TokenizerVectors.Golden($"npm/{name}.jsonl"));
        TokenizerVectors.CheckDecodes(tokenizer, TokenizerVectors.Golden($"npm/{name}.decode.jsonl"));
        TokenizerVectors.CheckStreams(tokenizer, TokenizerVectors.Golden($"npm/{name}.stream.jsonl"));
    }
}
