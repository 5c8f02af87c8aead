using NUnit.Framework;
using TpServe.Checkpoint.Config;
using TpServe.Testing;

namespace TpServe.Checkpoint.Tests;

/// <summary>What the golden checkpoints' files say, written down by hand.</summary>
public sealed class GoldenConfigTests
{
    [TestCase("llama-mha", "llama", 64, 2, 4, 4, 16, 192, 384, false)]
    [TestCase("llama-gqa-tied-rope3", "llama", 96, 3, 6, 3, 16, 320, 389, true)]
    [TestCase("llama-linear-rope-bias-sharded", "llama", 64, 3, 8, 2, 16, 160, 384, false)]
    [TestCase("mistral-sliding", "mistral", 64, 2, 4, 2, 32, 224, 384, false)]
    [TestCase("qwen2", "qwen2", 96, 2, 6, 2, 16, 256, 400, false)]
    [TestCase("qwen2-yarn", "qwen2", 64, 2, 4, 2, 16, 192, 384, false)]
    [TestCase("qwen3", "qwen3", 64, 2, 5, 5, 32, 192, 384, true)]
    [TestCase("smollm3", "smollm3", 64, 4, 4, 2, 16, 192, 384, true)]
    [TestCase("olmo2", "olmo2", 64, 2, 4, 2, 16, 192, 384, false)]
    [TestCase("granite", "granite", 64, 2, 4, 2, 16, 192, 384, false)]
    [TestCase("phi3", "phi3", 64, 2, 4, 2, 16, 192, 384, false)]
    [TestCase("gemma2", "gemma2", 64, 3, 4, 2, 32, 192, 384, true)]
    [TestCase("gemma3", "gemma3", 64, 4, 4, 1, 32, 192, 384, true)]
    public void Config_OfEachFamily_HasItsSizes(
        string name, string architecture, int hidden, int layers, int heads, int kvHeads, int headDim, int intermediate, int vocab, bool tied)
    {
        using ModelCheckpoint checkpoint = Open(name);
        ModelConfig config = checkpoint.Config;
        Assert.Multiple(() =>
        {
            Assert.That(checkpoint.Name, Is.EqualTo(name));
            Assert.That(config.Architecture, Is.EqualTo(architecture));
            Assert.That(
                (config.Hidden, config.Layers, config.Heads, config.KvHeads, config.HeadDim, config.Intermediate, config.Vocab),
                Is.EqualTo((hidden, layers, heads, kvHeads, headDim, intermediate, vocab)));
            Assert.That(config.TieEmbeddings, Is.EqualTo(tied));
            Assert.That(checkpoint.Tensors.ContainsKey("lm_head.weight"), Is.EqualTo(!tied));
            Assert.That(checkpoint.Tensors["model.embed_tokens.weight"].Shape, Is.EqualTo(new[] { vocab, hidden }));
            Assert.That(checkpoint.Generation.EosTokenIds, Is.EqualTo(new[] { 1 }));
            Assert.That(checkpoint.Generation.BosTokenId, Is.Zero);
            Assert.That(checkpoint.Tokenizer.BosToken, Is.EqualTo("<|endoftext|>"));
            Assert.That(checkpoint.Tokenizer.EosToken, Is.EqualTo("<|end|>"));
            Assert.That(checkpoint.Tokenizer.ChatTemplate, Does.StartWith("{% for message in messages %}"));
            Assert.That(checkpoint.Tokenizer.TokenizerJson!.Value.Length, Is.GreaterThan(1000));
            Assert.That(checkpoint.Tokenizer.Vocabulary, Is.Null);
            Assert.That(config.NormWeightsAddOne, Is.EqualTo(architecture.StartsWith("gemma", StringComparison.Ordinal)));
            Assert.That(config.Rope.RotaryDim, Is.EqualTo(headDim));
            Assert.That(config.LocalRope is not null, Is.EqualTo(architecture == "gemma3"));
        });
    }

    [Test]
    public void Config_Llama3Rope_IsRead()
    {
        RopeConfig rope = Config("llama-gqa-tied-rope3").Rope;
        Assert.That(
            (rope.Scaling, rope.Theta, rope.Factor, rope.LowFrequencyFactor, rope.HighFrequencyFactor, rope.OriginalMaxPositions),
            Is.EqualTo((RopeScaling.Llama3, 10000f, 8f, 1f, 4f, 64)));
    }

    [Test]
    public void Config_LinearRopeWithBiases_IsRead()
    {
        ModelConfig config = Config("llama-linear-rope-bias-sharded");
        Assert.That((config.Rope.Scaling, config.Rope.Factor), Is.EqualTo((RopeScaling.Linear, 4f)));
        Assert.That((config.QkvBias, config.OutputBias, config.MlpBias), Is.EqualTo((true, true, true)));
    }

    [Test]
    public void Config_Mistral_AllLayersSlide()
    {
        ModelConfig config = Config("mistral-sliding");
        Assert.That(config.SlidingWindow, Is.EqualTo(32));
        Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, true }));
        Assert.That((config.QkvBias, config.OutputBias, config.MlpBias), Is.EqualTo((false, false, false)));
    }

    [Test]
    public void Config_Qwen2_HasQkvBiasOnlyAndDoesNotSlide()
    {
        ModelConfig config = Config("qwen2");
        Assert.That((config.QkvBias, config.OutputBias, config.MlpBias), Is.EqualTo((true, false, false)));
        Assert.That(config.SlidingWindow, Is.Zero);
        Assert.That(config.Rope.Theta, Is.EqualTo(1e6f));
    }

    [Test]
    public void Config_Qwen2Yarn_IsRead()
    {
        ModelConfig config = Config("qwen2-yarn");
        RopeConfig rope = config.Rope;
        Assert.That(
            (rope.Scaling, rope.Factor, rope.OriginalMaxPositions, rope.BetaFast, rope.BetaSlow, rope.YarnTruncate, rope.AttentionFactor),
            Is.EqualTo((RopeScaling.Yarn, 4f, 64, 32f, 1f, true, (float?)null)));
        Assert.That(config.MaxPositions, Is.EqualTo(256));
    }

    [Test]
    public void Config_Qwen3NewStyleRope_IsRead()
    {
        ModelConfig config = Config("qwen3");
        Assert.That((config.Rope.Scaling, config.Rope.Theta), Is.EqualTo((RopeScaling.None, 1e6f)));
        Assert.That(config.QkvBias, Is.False);
    }

    [Test]
    public void Config_SmolLm3_LastLayerDoesNotRotate()
    {
        ModelConfig config = Config("smollm3");
        Assert.That(config.RopeLayers, Is.EqualTo(new[] { true, true, true, false }));
        Assert.That(config.Rope.Theta, Is.EqualTo(2e6f));
        Assert.That(config.SlidingWindow, Is.Zero);
    }

    [Test]
    public void Config_Granite_HasItsFourFactors()
    {
        ModelConfig config = Config("granite");
        Assert.That(
            (config.AttentionScale, config.EmbeddingScale, config.ResidualScale, config.LogitDivisor),
            Is.EqualTo(((float?)0.09f, 6f, 0.3f, 4f)));
    }

    [Test]
    public void Config_Gemma2_HasSoftcapsScaleAndAlternatingLayers()
    {
        ModelConfig config = Config("gemma2");
        Assert.Multiple(() =>
        {
            Assert.That((config.AttentionSoftcap, config.LogitSoftcap, config.EmbeddingScale), Is.EqualTo((20f, 15f, 8f)));
            Assert.That(config.AttentionScale, Is.EqualTo(1 / Math.Sqrt(48)).Within(1e-7));
            Assert.That(config.SlidingWindow, Is.EqualTo(32));
            Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, false, true }));
            Assert.That(config.HiddenActivation, Is.EqualTo("gelu_pytorch_tanh"));
        });
    }

    [Test]
    public void Config_Gemma3_HasTwoRotaryEmbeddings()
    {
        ModelConfig config = Config("gemma3");
        Assert.Multiple(() =>
        {
            Assert.That((config.Rope.Scaling, config.Rope.Theta, config.Rope.Factor), Is.EqualTo((RopeScaling.Linear, 1e6f, 8f)));
            Assert.That((config.LocalRope!.Scaling, config.LocalRope.Theta), Is.EqualTo((RopeScaling.None, 1e4f)));
            Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, true, false, true }));
            Assert.That((config.AttentionSoftcap, config.LogitSoftcap), Is.EqualTo((0f, 0f)));
            Assert.That(config.AttentionScale, Is.EqualTo(1 / Math.Sqrt(32)).Within(1e-7));
        });
    }

    [Test]
    public void Tensors_Phi3_StayFused()
    {
        using ModelCheckpoint checkpoint = Open("phi3");
        Assert.That(checkpoint.Tensors["model.layers.0.self_attn.qkv_proj.weight"].Shape, Is.EqualTo(new[] { 128, 64 }));
        Assert.That(checkpoint.Tensors["model.layers.0.mlp.gate_up_proj.weight"].Shape, Is.EqualTo(new[] { 384, 64 }));
    }

    [Test]
    public void Config_Mixtures_AreRead()
    {
        ExpertsConfig mixtral = Config("mixtral").Experts!, qwen = Config("qwen3-moe").Experts!, gptOss = Config("gpt-oss").Experts!;
        Assert.Multiple(() =>
        {
            Assert.That((mixtral.Count, mixtral.PerToken, mixtral.Intermediate, mixtral.Renormalises), Is.EqualTo((4, 2, 128, true)));
            Assert.That((qwen.Count, qwen.PerToken, qwen.Intermediate, qwen.Renormalises), Is.EqualTo((8, 3, 48, true)));
            Assert.That(qwen.Layers, Is.EqualTo(new[] { true, false, true }));
            Assert.That((gptOss.Count, gptOss.Intermediate, gptOss.RouterBias, gptOss.ProjectionBias, gptOss.SwiGluAlpha, gptOss.SwiGluLimit), Is.EqualTo((4, 96, true, true, 1.702f, 7f)));
            Assert.That((Config("gpt-oss").AttentionSinks, Config("gpt-oss").Rope.YarnTruncate, Config("mixtral").AttentionSinks), Is.EqualTo((true, false, false)));
        });
    }

    [Test]
    public void Config_LatentAttention_IsRead()
    {
        ModelConfig config = Config("deepseek-v3");
        LatentConfig latent = config.Latent!;
        ExpertsConfig experts = config.Experts!;
        Assert.Multiple(() =>
        {
            Assert.That((config.Architecture, config.KvHeads, config.HeadDim, config.ValueDim, config.KvRows), Is.EqualTo(("deepseek_v3", 1, 32, 16, 1)));
            Assert.That(config.AttentionScale, Is.EqualTo(1 / Math.Sqrt(24)).Within(1e-7));
            Assert.That((latent.QueryRank, latent.KvRank, latent.PlainDim, latent.RopeDim, latent.ValueDim, latent.NeighboursRotate), Is.EqualTo((32, 24, 16, 8, 16, true)));
            Assert.That((experts.Count, experts.PerToken, experts.Intermediate, experts.Groups, experts.TopGroups, experts.Scale, experts.SharedIntermediate), Is.EqualTo((8, 2, 48, 4, 2, 2.5f, 48)));
            Assert.That((experts.Scoring, experts.Renormalises, experts.CorrectionBias), Is.EqualTo((RouterScoring.Sigmoid, true, true)));
            Assert.That(experts.Layers, Is.EqualTo(new[] { false, true, true }));
        });
    }

    [TestCase("llama-q4_1", "llama", 64, 192, 384, TensorType.Q4_1)]
    [TestCase("llama-q4_0-tied", "llama", 64, 192, 384, TensorType.Q4_0)]
    [TestCase("llama-q8_0", "llama", 96, 320, 389, TensorType.Q8_0)]
    [TestCase("llama-f16", "llama", 64, 192, 384, TensorType.F16)]
    [TestCase("llama-bf16", "llama", 64, 192, 384, TensorType.BF16)]
    [TestCase("llama-iq4_nl", "llama", 64, 192, 384, TensorType.IQ4_NL)]
    [TestCase("llama-q4_k-q6_k", "llama", 256, 768, 384, TensorType.Q4_K)]
    [TestCase("llama-q5_k", "llama", 256, 512, 384, TensorType.Q5_K)]
    [TestCase("llama-q3_k-q2_k", "llama", 256, 512, 384, TensorType.Q3_K)]
    [TestCase("qwen2-q5_0", "qwen2", 64, 160, 384, TensorType.Q5_0)]
    [TestCase("qwen3-q5_1", "qwen3", 64, 160, 384, TensorType.Q5_1)]
    [TestCase("qwen3-q6_k", "qwen3", 256, 512, 384, TensorType.Q6_K)]
    public void Config_OfEachGguf_HasItsSizesAndType(string name, string architecture, int hidden, int intermediate, int vocab, TensorType type)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.Find($"gguf-models/{name}.gguf")!);
        ModelConfig config = checkpoint.Config;
        TensorInfo query = checkpoint.Tensors["model.layers.0.self_attn.q_proj.weight"];
        Assert.Multiple(() =>
        {
            Assert.That(checkpoint.Name, Is.EqualTo(name));
            Assert.That((config.Architecture, config.Hidden, config.Intermediate, config.Vocab), Is.EqualTo((architecture, hidden, intermediate, vocab)));
            Assert.That(config.TieEmbeddings, Is.EqualTo(name.Contains("tied", StringComparison.Ordinal)));
            Assert.That(config.QkvBias, Is.EqualTo(architecture == "qwen2"));
            Assert.That((query.Type, query.FileName), Is.EqualTo((type, "blk.0.attn_q.weight")));
            Assert.That(query.RowOrder, Is.EqualTo(architecture == "llama" ? RowOrder.InterleavedPairs : RowOrder.Plain));
            Assert.That(checkpoint.Tensors["model.layers.0.self_attn.v_proj.weight"].RowOrder, Is.EqualTo(RowOrder.Plain));
            Assert.That(checkpoint.Tensors.Keys, Has.All.Matches<string>(n => n!.StartsWith("model.", StringComparison.Ordinal) || n == "lm_head.weight"));
            Assert.That(checkpoint.Generation.EosTokenIds, Is.EqualTo(new[] { 1 }));
            Assert.That(checkpoint.Tokenizer.Vocabulary!.Tokens, Has.Count.EqualTo(vocab));
        });
    }

    [Test]
    public void Tokenizer_SentencePieceGguf_HasScoresAndTypes()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.Find("gguf-models/llama-spm-q8_0.gguf")!);
        GgufVocabulary vocabulary = checkpoint.Tokenizer.Vocabulary!;
        Assert.Multiple(() =>
        {
            Assert.That(vocabulary.Model, Is.EqualTo("llama"));
            Assert.That((vocabulary.Tokens.Count, vocabulary.Scores.Count, vocabulary.Types.Count), Is.EqualTo((700, 700, 700)));
            Assert.That(vocabulary.Types.Take(6), Is.EqualTo(new[] { 2, 3, 3, 4, 4, 6 }));
            Assert.That((vocabulary.BosId, vocabulary.EosId, vocabulary.UnknownId), Is.EqualTo(((int?)1, (int?)2, (int?)0)));
            Assert.That((vocabulary.AddBos, vocabulary.AddEos, vocabulary.AddSpacePrefix), Is.EqualTo(((bool?)true, (bool?)false, (bool?)true)));
            Assert.That((checkpoint.Tokenizer.BosToken, checkpoint.Tokenizer.EosToken), Is.EqualTo(("<s>", "</s>")));
            Assert.That(checkpoint.Tokenizer.ChatTemplate, Is.Null);
        });
    }

    [Test]
    public void Open_SmolLm2_HasItsFacts()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        ModelConfig config = checkpoint.Config;
        Assert.Multiple(() =>
        {
            Assert.That(checkpoint.Name, Is.EqualTo("SmolLM2-135M-Instruct.Q4_1"));
            Assert.That(
                (config.Hidden, config.Layers, config.Heads, config.KvHeads, config.HeadDim, config.Intermediate, config.Vocab, config.MaxPositions),
                Is.EqualTo((576, 30, 9, 3, 64, 1536, 49152, 8192)));
            Assert.That((config.Rope.Theta, config.Rope.Scaling, config.NormEpsilon, config.TieEmbeddings), Is.EqualTo((100000f, RopeScaling.None, 1e-5f, true)));
            Assert.That(checkpoint.Tensors, Has.Count.EqualTo(272));
            Assert.That(checkpoint.Tensors["model.embed_tokens.weight"].Type, Is.EqualTo(TensorType.Q8_0));
            Assert.That(checkpoint.Tensors["model.layers.29.mlp.down_proj.weight"].Type, Is.EqualTo(TensorType.Q4_1));
            Assert.That(checkpoint.Generation.EosTokenIds, Is.EqualTo(new[] { 2 }));
            Assert.That(checkpoint.Tokenizer.Vocabulary!.Merges, Has.Count.EqualTo(48900));
            Assert.That(checkpoint.Tokenizer.Vocabulary!.Pre, Is.EqualTo("smollm"));
            Assert.That(checkpoint.Tokenizer.EosToken, Is.EqualTo("<|im_end|>"));
            Assert.That(checkpoint.Tokenizer.AddBosToken, Is.False);
            Assert.That(checkpoint.Tokenizer.ChatTemplate, Does.Contain("You are a helpful AI assistant named SmolLM"));
        });
    }

    private static ModelCheckpoint Open(string name) => ModelCheckpoints.Open(TestData.Find($"models/{name}")!);

    private static ModelConfig Config(string name)
    {
        using ModelCheckpoint checkpoint = Open(name);
        return checkpoint.Config;
    }
}
