using TpServe.ChatTemplates;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Tokenization;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>A model whose tokens are single bytes (id = byte) and four special tokens.</summary>
internal static class TestModel
{
    public const int End = 256, User = 257, Assistant = 258, Begin = 259;

    /// <summary>Rows of the embedding: some more than the tokenizer has tokens, as padded checkpoints do.</summary>
    public const int Vocabulary = 264;

    public static Tokenizer Tokenizer { get; } = Tokenizer.Create(new TokenizerFiles
    {
        Vocabulary = new GgufVocabulary
        {
            Model = "gpt2",
            Pre = "gpt-2",
            Tokens = [.. Enumerable.Range(0, 256).Select(ByteToken), "<|end|>", "<|user|>", "<|assistant|>", "<|begin|>"],
            Types = [.. Enumerable.Repeat(1, 256), 3, 3, 3, 3],
            Merges = [],
            EosId = End,
        },
    });

    /// <summary>&lt;|role|&gt; before each message; writes "think" where enable_thinking is set.</summary>
    public const string Template =
        "{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}{%- endfor %}"
        + "{%- if enable_thinking %}think{%- endif %}{%- if add_generation_prompt %}<|assistant|>{%- endif %}";

    public static ServingModel Model(GenerationDefaults? defaults = null) => new()
    {
        Name = "test-model",
        Config = new ModelConfig
        {
            Architecture = "llama",
            Hidden = 8,
            Layers = 1,
            Heads = 2,
            KvHeads = 1,
            HeadDim = 4,
            Intermediate = 16,
            Vocab = Vocabulary,
            MaxPositions = 64,
            NormEpsilon = 1e-5f,
            TieEmbeddings = true,
            Rope = new RopeConfig { Theta = 10000, RotaryDim = 4 },
        },
        Generation = defaults ?? new GenerationDefaults { EosTokenIds = [End] },
        Tokenizer = Tokenizer,
        ChatTemplate = ChatTemplate.Parse(Template),
        EosToken = "<|end|>",
    };

    // GPT-2's alphabet: printable bytes stand for themselves, the others follow at U+0100.
    private static string ByteToken(int value)
    {
        static bool Printable(int candidate) => candidate is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
        int character = Printable(value) ? value : 256 + Enumerable.Range(0, value).Count(other => !Printable(other));
        return ((char)character).ToString();
    }
}
