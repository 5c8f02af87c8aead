using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Tokenization;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>Tokens that end an answer, from all places that name them.</summary>
public sealed class EndTokensTests
{
    private static readonly string[] s_tokens = ["<|endoftext|>", "<|im_end|>", "<|end|>", "<|return|>", "</s>", "a"];

    [TestCase("{{ m }}<|im_end|>", null, new[] { 0 }, new[] { 0, 1 }, TestName = "the template's end of a turn beside a base model's end")]
    [TestCase("{{ m }}</s>", null, new int[0], new[] { 4 }, TestName = "the template alone")]
    [TestCase(null, "<|im_end|>", new int[0], new[] { 1 }, TestName = "tokenizer_config.json alone")]
    [TestCase("{{ m }}<|end|>", "<|im_end|>", new[] { 0 }, new[] { 0, 1, 2 }, TestName = "three places")]
    [TestCase("<|channel|>x<|end|><|return|>", null, new[] { 3 }, new[] { 3 }, TestName = "channels go on after their end")]
    [TestCase("a", "<|no token|>", new[] { 0 }, new[] { 0 }, TestName = "an ordinary token and one that is not there")]
    [TestCase(null, null, new int[0], new int[0], TestName = "nowhere")]
    public void Of_AnyPlaces_AreTogether(string? template, string? eosToken, int[] fromFiles, int[] expected)
    {
        TokenizerFiles files = new()
        {
            Vocabulary = new GgufVocabulary { Model = "gpt2", Pre = "gpt-2", Tokens = s_tokens, Types = [3, 3, 3, 3, 3, 1] },
            ChatTemplate = template,
            EosToken = eosToken,
        };
        Tokenizer tokenizer = Tokenizer.Create(files);
        using FilesOnly checkpoint = new(files, new GenerationDefaults { EosTokenIds = fromFiles });
        Assert.That(EndTokens.Of(checkpoint, tokenizer), Is.EqualTo(expected));
    }

    [Test]
    public void Describe_Ids_NamesTextAndNumber()
    {
        Tokenizer tokenizer = Tokenizer.Create(new TokenizerFiles { Vocabulary = new GgufVocabulary { Model = "gpt2", Pre = "gpt-2", Tokens = s_tokens, Types = [3, 3, 3, 3, 3, 1] } });
        Assert.That(EndTokens.Describe([1, 0], tokenizer), Is.EqualTo("<|im_end|> (1), <|endoftext|> (0)"));
        Assert.That(EndTokens.Describe([], tokenizer), Does.StartWith("none known"));
    }

    private sealed class FilesOnly(TokenizerFiles files, GenerationDefaults generation) : ModelCheckpoint
    {
        public override string Path => "";

        public override string Name => "";

        public override ModelConfig Config => throw new NotSupportedException();

        public override GenerationDefaults Generation => generation;

        public override TokenizerFiles Tokenizer => files;

        public override IReadOnlyDictionary<string, TensorInfo> Tensors => throw new NotSupportedException();

        public override ReadOnlySpan<byte> Bytes(TensorInfo tensor) => throw new NotSupportedException();

        public override void Drop(TensorInfo tensor)
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
