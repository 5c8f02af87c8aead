using NUnit.Framework;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Tests;

public sealed class GgufConfigTests
{
    private ScratchFolder _scratch = null!;

    [SetUp]
    public void CreateFolder() => _scratch = new ScratchFolder();

    [TearDown]
    public void DeleteFolder() => _scratch.Dispose();

    [Test]
    public void Config_SilentFile_TakesTheDefaults()
    {
        ModelConfig config = Read(GgufBuilder.Model().Without("llama.attention.head_count_kv"));
        Assert.Multiple(() =>
        {
            Assert.That((config.KvHeads, config.HeadDim, config.Vocab, config.MaxPositions, config.TieEmbeddings), Is.EqualTo((4, 16, 8, 128, true)));
            Assert.That((config.Rope.Theta, config.Rope.RotaryDim, config.Rope.Scaling), Is.EqualTo((10000f, 16, RopeScaling.None)));
            Assert.That((config.QkvBias, config.OutputBias, config.MlpBias, config.NormWeightsAddOne), Is.EqualTo((false, false, false, false)));
            Assert.That((config.SlidingWindow, config.HiddenActivation, config.AttentionScale), Is.EqualTo((0, "silu", (float?)null)));
        });
    }

    [Test]
    public void Config_Biases_AreFoundByTheirTensors()
    {
        ModelConfig config = Read(GgufBuilder.Model().Tensor("blk.0.attn_q.bias", [64]).Tensor("blk.0.attn_output.bias", [64]).Tensor("blk.0.ffn_down.bias", [64]));
        Assert.That((config.QkvBias, config.OutputBias, config.MlpBias), Is.EqualTo((true, true, true)));
    }

    [Test]
    public void Config_OutputTensor_UntiesTheHead() => Assert.That(Read(GgufBuilder.Model().Tensor("output.weight", [64, 8])).TieEmbeddings, Is.False);

    [Test]
    public void Config_RopeFreqsTensor_BecomesFactorsAndIsNoWeight()
    {
        string path = _scratch.Write("model.gguf", GgufBuilder.Model().Tensor("rope_freqs.weight", [8], 0, [.. Enumerable.Range(1, 8).SelectMany(i => BitConverter.GetBytes((float)i))]).Build());
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(path);
        Assert.That(checkpoint.Config.Rope.Scaling, Is.EqualTo(RopeScaling.Factors));
        Assert.That(checkpoint.Config.Rope.ShortFactors, Is.EqualTo(new[] { 1f, 2f, 3f, 4f, 5f, 6f, 7f, 8f }));
        Assert.That(checkpoint.Tensors.Keys, Has.None.Contains("rope"));
    }

    [Test]
    public void Open_NegativeRopeFreqs_NamesTheTensor() => Assert.That(
        Assert.Throws<ModelLoadException>(() => Read(GgufBuilder.Model().Tensor("rope_freqs.weight", [1], 0, BitConverter.GetBytes(-1f))))!.Message,
        Does.Contain("rope_freqs.weight").And.Contain("-1"));

    [Test]
    public void Open_RopeFreqsOfWrongLength_SaysHowManyAreNeeded() => Assert.That(
        Assert.Throws<ModelLoadException>(() => Read(GgufBuilder.Model().Tensor("rope_freqs.weight", [4], 0, [.. Enumerable.Repeat(1f, 4).SelectMany(BitConverter.GetBytes)])))!.Message,
        Does.Contain("has 4").And.Contain("8 are needed"));

    [Test]
    public void Config_LinearScaling_IsReadUnderBothNames()
    {
        RopeConfig now = Read(GgufBuilder.Model().String("llama.rope.scaling.type", "linear").Float32("llama.rope.scaling.factor", 4)).Rope;
        RopeConfig before = Read(GgufBuilder.Model().Float32("llama.rope.scale_linear", 4)).Rope;
        Assert.That((now.Scaling, now.Factor), Is.EqualTo((RopeScaling.Linear, 4f)));
        Assert.That(before, Is.EqualTo(now));
    }

    [Test]
    public void Config_Yarn_IsRead()
    {
        ModelConfig config = Read(GgufBuilder.Model("qwen2")
            .String("qwen2.rope.scaling.type", "yarn").Float32("qwen2.rope.scaling.factor", 4).UInt32("qwen2.rope.scaling.original_context_length", 64));
        Assert.That((config.Rope.Scaling, config.Rope.Factor, config.Rope.OriginalMaxPositions, config.MaxPositions), Is.EqualTo((RopeScaling.Yarn, 4f, 64, 256)));
    }

    [Test]
    public void Open_UnknownScaling_NamesIt() => Assert.That(
        Assert.Throws<ModelLoadException>(() => Read(GgufBuilder.Model().String("llama.rope.scaling.type", "spiral")))!.Message,
        Does.Contain("llama.rope.scaling.type").And.Contain("spiral").And.Contain("yarn"));

    [Test]
    public void Config_Granite_HasItsFourFactors()
    {
        ModelConfig config = Read(GgufBuilder.Model("granite")
            .Float32("granite.attention.scale", 0.25f).Float32("granite.embedding_scale", 12).Float32("granite.residual_scale", 0.5f).Float32("granite.logit_scale", 8));
        Assert.That((config.AttentionScale, config.EmbeddingScale, config.ResidualScale, config.LogitDivisor), Is.EqualTo(((float?)0.25f, 12f, 0.5f, 8f)));
    }

    [Test]
    public void Config_Gemma2_HasItsDefaults()
    {
        ModelConfig config = Read(GgufBuilder.Model("gemma2").UInt32("gemma2.attention.key_length", 16).UInt32("gemma2.block_count", 3));
        Assert.Multiple(() =>
        {
            Assert.That((config.AttentionSoftcap, config.LogitSoftcap, config.EmbeddingScale, config.AttentionScale), Is.EqualTo((50f, 30f, 8f, (float?)0.25f)));
            Assert.That(config.SlidingWindow, Is.EqualTo(4096));
            Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, false, true }));
            Assert.That((config.HiddenActivation, config.NormWeightsAddOne), Is.EqualTo(("gelu_pytorch_tanh", false)));
        });
    }

    [Test]
    public void Config_Gemma3_HasTwoRotaryEmbeddings()
    {
        ModelConfig config = Read(GgufBuilder.Model("gemma3").UInt32("gemma3.block_count", 7).UInt32("gemma3.attention.sliding_window", 32)
            .Float32("gemma3.rope.freq_base", 1e6f).String("gemma3.rope.scaling.type", "linear").Float32("gemma3.rope.scaling.factor", 8));
        Assert.Multiple(() =>
        {
            Assert.That((config.Rope.Theta, config.Rope.Scaling, config.Rope.Factor), Is.EqualTo((1e6f, RopeScaling.Linear, 8f)));
            Assert.That((config.LocalRope!.Theta, config.LocalRope.Scaling), Is.EqualTo((1e4f, RopeScaling.None)));
            Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, true, true, true, true, false, true }));
            Assert.That((config.AttentionSoftcap, config.LogitSoftcap), Is.EqualTo((0f, 0f)));
        });
    }

    [Test]
    public void Config_SlidingPatternAsList_IsTakenAsItStands()
    {
        ModelConfig config = Read(GgufBuilder.Model("gemma3").UInt32("gemma3.block_count", 3).UInt32("gemma3.attention.sliding_window", 32)
            .Bools("gemma3.attention.sliding_window_pattern", false, true, true));
        Assert.That(config.SlidingLayers, Is.EqualTo(new[] { false, true, true }));
    }

    [Test]
    public void Config_SmolLm3_LeavesEveryFourthLayerUnrotated() =>
        Assert.That(Read(GgufBuilder.Model("smollm3").UInt32("smollm3.block_count", 5)).RopeLayers, Is.EqualTo(new[] { true, true, true, false, true }));

    [TestCase(64u, 64)]
    [TestCase(128u, 0)]
    public void Config_Phi3Window_CountsOnlyBelowTheContext(uint window, int expected) =>
        Assert.That(Read(GgufBuilder.Model("phi3").UInt32("phi3.attention.sliding_window", window)).SlidingWindow, Is.EqualTo(expected));

    [Test]
    public void Config_Phi3LongRope_IsReadFromItsTensors()
    {
        byte[] factors = [.. Enumerable.Range(1, 8).SelectMany(i => BitConverter.GetBytes((float)i))];
        ModelConfig config = Read(GgufBuilder.Model("phi3").UInt32("phi3.rope.scaling.original_context_length", 32).Float32("phi3.rope.scaling.attn_factor", 1.25f)
            .Tensor("rope_factors_short.weight", [8], 0, factors).Tensor("rope_factors_long.weight", [8], 0, factors));
        Assert.That((config.Rope.Scaling, config.Rope.Factor, config.Rope.OriginalMaxPositions, config.Rope.AttentionFactor), Is.EqualTo((RopeScaling.LongRope, 4f, 32, (float?)1.25f)));
        Assert.That(config.Rope.LongFactors, Has.Count.EqualTo(8));
    }

    [Test]
    public void Config_ExpertsWhereNoneAreKnown_MakeAnArchitectureOfTheirOwn() => Assert.That(Read(GgufBuilder.Model("qwen3").UInt32("qwen3.expert_count", 8)).Architecture, Is.EqualTo("qwen3-moe"));

    [Test]
    public void Config_UnknownArchitecture_KeepsItsNameWhateverItsTensorsAre()
    {
        GgufBuilder builder = new GgufBuilder().String("general.architecture", "deepseek9").Tensor("blk.0.ffn_gate_exps.weight", [32], 39, new byte[32]);
        Assert.That(Read(builder).Architecture, Is.EqualTo("deepseek9"));
    }

    [Test]
    public void Config_Experts_AreReadFromMetadataAndTensors()
    {
        GgufBuilder builder = GgufBuilder.Model("glm4moe").UInt32("glm4moe.block_count", 4).UInt32("glm4moe.nextn_predict_layers", 1)
            .UInt32("glm4moe.expert_count", 8).UInt32("glm4moe.expert_used_count", 2).UInt32("glm4moe.expert_feed_forward_length", 32).UInt32("glm4moe.expert_shared_count", 1)
            .Float32("glm4moe.expert_weights_scale", 2.5f).Bool("glm4moe.expert_weights_norm", true).UInt32("glm4moe.expert_gating_func", 2)
            .Tensor("blk.1.ffn_gate_inp.weight", [64, 8]).Tensor("blk.2.ffn_gate_inp.weight", [64, 8]).Tensor("blk.1.exp_probs_b.bias", [8]);
        ModelConfig config = Read(builder);
        ExpertsConfig experts = config.Experts!;
        Assert.Multiple(() =>
        {
            Assert.That((config.Architecture, config.Layers, config.Intermediate, config.MlpColumns, config.QueryKeyNorm), Is.EqualTo(("glm4_moe", 3, 96, 32, false)));
            Assert.That(experts.Layers, Is.EqualTo(new[] { false, true, true }));
            Assert.That((experts.Count, experts.PerToken, experts.SharedIntermediate, experts.Scale, experts.Renormalises), Is.EqualTo((8, 2, 32, 2.5f, true)));
            Assert.That((experts.Scoring, experts.CorrectionBias, experts.SharedGate), Is.EqualTo((RouterScoring.Sigmoid, true, false)));
        });
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Config_Deepseek2_IsReadFromOlderAndNewerFiles(bool isTurned)
    {
        GgufBuilder builder = GgufBuilder.Model("deepseek2").UInt32("deepseek2.attention.kv_lora_rank", 24).UInt32("deepseek2.rope.dimension_count", 8)
            .UInt32("deepseek2.attention.key_length", isTurned ? 32u : 20u).UInt32("deepseek2.attention.value_length", isTurned ? 24u : 16u)
            .String("deepseek2.rope.scaling.type", "yarn").Float32("deepseek2.rope.scaling.factor", 4f).Float32("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f);
        if (isTurned)
            builder = builder.UInt32("deepseek2.attention.key_length_mla", 20).UInt32("deepseek2.attention.value_length_mla", 16);
        ModelConfig config = Read(builder);
        LatentConfig latent = config.Latent!;
        Assert.That((config.Architecture, config.KvHeads, config.HeadDim, config.Rope.AttentionFactor), Is.EqualTo(("deepseek_v2", 1, 32, (float?)1f)));
        Assert.That((latent.QueryRank, latent.KvRank, latent.PlainDim, latent.RopeDim, latent.ValueDim), Is.EqualTo((0, 24, 12, 8, 16)));
        Assert.That(config.AttentionScale, Is.EqualTo(Math.Pow(1 + (0.1 * Math.Log(4)), 2) / Math.Sqrt(20)).Within(1e-6));
    }

    [Test]
    public void Config_LlamaWithExperts_IsAMixtral()
    {
        ModelConfig config = Read(GgufBuilder.Model().UInt32("llama.expert_count", 8).UInt32("llama.expert_used_count", 2));
        Assert.That((config.Architecture, config.Experts!.Intermediate, config.Experts.Renormalises), Is.EqualTo(("mixtral", 96, true)));
    }

    [TestCase(0u, 1u, "0 experts")]
    [TestCase(8u, 0u, "0 experts of 8")]
    [TestCase(8u, 9u, "9 experts of 8")]
    [TestCase(70000u, 2u, "70000 experts")]
    public void Config_ImpossibleExperts_AreRefused(uint count, uint used, string says) =>
        Assert.That(
            Assert.Throws<ModelLoadException>(() => Read(GgufBuilder.Model("qwen3moe").UInt32("qwen3moe.expert_count", count).UInt32("qwen3moe.expert_used_count", used)))!.Message,
            Does.Contain(says));

    [Test]
    public void Config_UnknownGatingFunction_IsRefused() =>
        Assert.That(
            Assert.Throws<ModelLoadException>(() => Read(GgufBuilder.Model("qwen3moe").UInt32("qwen3moe.expert_count", 4).UInt32("qwen3moe.expert_used_count", 2).UInt32("qwen3moe.expert_gating_func", 9)))!.Message,
            Does.Contain("expert_gating_func").And.Contain("9"));

    [TestCase("llama.feed_forward_length", 96, 96, true)]
    [TestCase("llama.feed_forward_length", 96, 64, false)]
    public void Config_OneNumberForEachLayer_MustAgree(string key, int first, int second, bool allowed)
    {
        GgufBuilder builder = GgufBuilder.Model().Int32s(key, first, second);
        if (allowed)
            Assert.That(Read(builder).Intermediate, Is.EqualTo(first));
        else
            Assert.That(Assert.Throws<ModelLoadException>(() => Read(builder))!.Message, Does.Contain(key).And.Contain("differs"));
    }

    [TestCase("llama", "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", RowOrder.InterleavedPairs)]
    [TestCase("llama", "blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", RowOrder.InterleavedPairs)]
    [TestCase("granite", "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", RowOrder.InterleavedPairs)]
    [TestCase("smollm3", "blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", RowOrder.InterleavedPairs)]
    [TestCase("olmo2", "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", RowOrder.Plain)]
    [TestCase("qwen3", "blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight", RowOrder.Plain)]
    [TestCase("llama", "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", RowOrder.Plain)]
    [TestCase("gemma2", "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight", RowOrder.Plain)]
    [TestCase("gemma3", "blk.0.post_attention_norm.weight", "model.layers.0.post_attention_layernorm.weight", RowOrder.Plain)]
    [TestCase("olmo2", "blk.0.post_ffw_norm.weight", "model.layers.0.post_feedforward_layernorm.weight", RowOrder.Plain)]
    [TestCase("phi3", "blk.0.attn_qkv.weight", "model.layers.0.self_attn.qkv_proj.weight", RowOrder.Plain)]
    [TestCase("phi3", "blk.0.ffn_up.weight", "model.layers.0.mlp.gate_up_proj.weight", RowOrder.Plain)]
    [TestCase("qwen2", "output.weight", "lm_head.weight", RowOrder.Plain)]
    [TestCase("qwen3moe", "blk.0.ffn_gate_inp.weight", "model.layers.0.mlp.gate.weight", RowOrder.Plain, 2)]
    [TestCase("qwen3moe", "blk.0.ffn_down_exps.weight", "model.layers.0.mlp.experts.down_proj.weight", RowOrder.Plain, 2)]
    [TestCase("qwen2moe", "blk.0.ffn_gate_inp_shexp.weight", "model.layers.0.mlp.shared_expert_gate.weight", RowOrder.Plain, 2)]
    [TestCase("qwen2moe", "blk.0.ffn_up_shexp.weight", "model.layers.0.mlp.shared_expert.up_proj.weight", RowOrder.Plain, 2)]
    [TestCase("gpt-oss", "blk.0.attn_sinks.weight", "model.layers.0.self_attn.sinks", RowOrder.Plain, 2)]
    [TestCase("gpt-oss", "blk.0.ffn_gate_exps.bias", "model.layers.0.mlp.experts.gate_proj.bias", RowOrder.Plain, 2)]
    [TestCase("gpt-oss", "blk.0.ffn_gate_inp.bias", "model.layers.0.mlp.router.bias", RowOrder.Plain, 2)]
    [TestCase("granitemoe", "blk.0.ffn_gate_inp.weight", "model.layers.0.block_sparse_moe.router.layer.weight", RowOrder.Plain, 2)]
    [TestCase("granitemoe", "blk.0.ffn_gate_shexp.weight", "model.layers.0.shared_mlp.gate_proj.weight", RowOrder.Plain, 2)]
    [TestCase("granitemoe", "blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", RowOrder.InterleavedPairs, 2)]
    [TestCase("glm4moe", "blk.0.exp_probs_b.bias", "model.layers.0.mlp.gate.e_score_correction_bias", RowOrder.Plain, 2)]
    [TestCase("glm4moe", "blk.0.ffn_down_shexp.weight", "model.layers.0.mlp.shared_experts.down_proj.weight", RowOrder.Plain, 2)]
    [TestCase("llama", "blk.0.ffn_up_exps.weight", "model.layers.0.block_sparse_moe.experts.w3.weight", RowOrder.Plain, 2)]
    [TestCase("llama", "blk.0.ffn_down.3.weight", "model.layers.0.block_sparse_moe.experts.3.w2.weight", RowOrder.Plain, 2)]
    [TestCase("llama", "blk.0.something_new.weight", "blk.0.something_new.weight", RowOrder.Plain)]
    public void Tensors_OfEachFamily_HaveTheirHubNames(string architecture, string name, string expected, RowOrder order, int experts = 0)
    {
        GgufBuilder builder = GgufBuilder.Model(architecture).WithoutTensors().UInt32($"{architecture}.expert_count", (uint)experts).UInt32($"{architecture}.expert_used_count", 1).Tensor("token_embd.weight", [64, 8]).Tensor(name, [64]);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        Assert.That(checkpoint.Tensors, Does.ContainKey(expected));
        Assert.That((checkpoint.Tensors[expected].FileName, checkpoint.Tensors[expected].RowOrder), Is.EqualTo((name, order)));
    }

    [TestCase("starcoder2", "blk.0.ffn_up.weight", "model.layers.0.mlp.c_fc.weight", RowOrder.Plain)]
    [TestCase("gptneox", "blk.0.attn_qkv.bias", "model.layers.0.self_attn.qkv_proj.bias", RowOrder.Plain)]
    [TestCase("command-r", "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", RowOrder.InterleavedPairs)]
    [TestCase("cohere2", "blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", RowOrder.InterleavedPairs)]
    [TestCase("stablelm", "blk.0.ffn_norm.bias", "model.layers.0.post_attention_layernorm.bias", RowOrder.Plain)]
    public void Files_OfFamiliesWithLayerNorms_AreRead(string architecture, string name, string expected, RowOrder order)
    {
        GgufBuilder builder = GgufBuilder.Model(architecture).WithoutTensors().Float32($"{architecture}.attention.layer_norm_epsilon", 1e-3f).Float32($"{architecture}.logit_scale", 0.25f)
            .UInt32($"{architecture}.attention.sliding_window", 16).Tensor("token_embd.weight", [64, 8]).Tensor(name, [64]);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        Assert.That((checkpoint.Tensors[expected].FileName, checkpoint.Tensors[expected].RowOrder), Is.EqualTo((name, order)));
        ModelConfig config = checkpoint.Config;
        bool isCohere = architecture is "command-r" or "cohere2";
        Assert.That((config.IsLayerNorm, config.NormEpsilon, config.NormBias, config.IsMlpGated, config.IsParallelBlock), Is.EqualTo((true, 1e-3f, !isCohere, isCohere || architecture is "stablelm", isCohere || architecture is "gptneox")));
        Assert.That((config.LogitDivisor, config.SlidingWindow), Is.EqualTo((isCohere ? 4f : 1f, architecture is "cohere2" ? 16 : 0)));
    }

    [Test]
    public void Generation_EndIdsAndSampling_AreRead()
    {
        GgufBuilder builder = GgufBuilder.Model().UInt32("tokenizer.ggml.eot_token_id", 5).UInt32("tokenizer.ggml.eom_token_id", 7)
            .Float32("general.sampling.temp", 0.5f).Int32("general.sampling.top_k", 20).Float32("general.sampling.top_p", 0.75f);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        GenerationDefaults generation = checkpoint.Generation;
        Assert.That(generation.EosTokenIds, Is.EqualTo(new[] { 7, 5 }));
        Assert.That((generation.BosTokenId, generation.Temperature, generation.TopK, generation.TopP), Is.EqualTo(((int?)6, (float?)0.5f, (int?)20, (float?)0.75f)));
    }

    [Test]
    public void Open_SplitModel_JoinsItsFiles()
    {
        _scratch.Write("tiny-00002-of-00002.gguf", Split(1, new GgufBuilder()).Tensor("output.weight", [64, 8]).Build());
        string first = _scratch.Write("tiny-00001-of-00002.gguf", Split(0, GgufBuilder.Model()).Build());
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(first);
        Assert.That(checkpoint.Name, Is.EqualTo("tiny"));
        Assert.That(checkpoint.Config.TieEmbeddings, Is.False);
        byte[] expected = [.. Testing.Numbers.Uniform(512, seed: 0).SelectMany(BitConverter.GetBytes)];
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["lm_head.weight"]).SequenceEqual(expected), Is.True);
    }

    [Test]
    public void Open_SplitModelWithoutItsSecondFile_NamesTheFile()
    {
        string first = _scratch.Write("tiny-00001-of-00002.gguf", Split(0, GgufBuilder.Model()).Build());
        Assert.That(Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(first))!.Message, Does.Contain("tiny-00002-of-00002.gguf"));
    }

    [TestCase("tiny-00002-of-00002.gguf", 1u)]
    [TestCase("tiny.gguf", 0u)]
    public void Open_PartWithoutTheOthers_NamesThem(string name, uint number)
    {
        string path = _scratch.Write(name, Split(number, GgufBuilder.Model()).Build());
        Assert.That(Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(path))!.Message, Does.Contain("00001-of-00002.gguf"));
    }

    [Test]
    public void Open_SecondPartOfASplitModel_JoinsAll()
    {
        string second = _scratch.Write("tiny-00002-of-00002.gguf", Split(1, new GgufBuilder()).Tensor("output.weight", [64, 8]).Build());
        string first = _scratch.Write("tiny-00001-of-00002.gguf", Split(0, GgufBuilder.Model()).Int32("split.tensors.count", 7).Build());
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(second);
        Assert.That((checkpoint.Name, checkpoint.Config.Layers, checkpoint.Config.TieEmbeddings), Is.EqualTo(("tiny", 1, false)));
        Assert.That(ModelIdentity.Of(second), Is.EqualTo(ModelIdentity.Of(first)));
    }

    [TestCase(0u, 6, "expected part 2 of 2, found part 1 of 2")]
    [TestCase(1u, 8, "split.tensors.count")]
    public void Open_PartsOfDifferentModels_AreRefused(uint number, int tensors, string words)
    {
        _scratch.Write("tiny-00002-of-00002.gguf", Split(number, new GgufBuilder()).Tensor("output.weight", [64, 8]).Build());
        string first = _scratch.Write("tiny-00001-of-00002.gguf", Split(0, GgufBuilder.Model()).Int32("split.tensors.count", tensors).Build());
        Assert.That(Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(first))!.Message, Does.Contain(words));
    }

    [TestCase(-1)]
    [TestCase(8)]
    public void Open_SpecialIdThatIsNoToken_IsNoneAndSaid(int id)
    {
        GgufBuilder builder = GgufBuilder.Model().Int32("tokenizer.ggml.padding_token_id", id).Int32("tokenizer.ggml.eot_token_id", id).UInt32("tokenizer.ggml.unknown_token_id", uint.MaxValue);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        Assert.That((checkpoint.Tokenizer.Vocabulary!.PaddingId, checkpoint.Tokenizer.Vocabulary.UnknownId), Is.EqualTo(((int?)null, (int?)null)));
        Assert.That(checkpoint.Generation.EosTokenIds, Is.EqualTo(new[] { 7 }));
        Assert.That(checkpoint.Warnings, Has.Some.Contain("padding_token_id").And.Some.Contain("unknown_token_id"));
    }

    [Test]
    public void Open_OtherAlignmentAndOrder_FindsTheSameBytes([Values(1, 8, 64, 4096)] int alignment)
    {
        GgufBuilder builder = GgufBuilder.Model().UInt32("general.alignment", (uint)alignment);
        builder.Alignment = alignment;
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Tensor("output.weight", [64, 8]).Build()));
        byte[] expected = [.. Testing.Numbers.Uniform(512, seed: 6).SelectMany(BitConverter.GetBytes)];
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["lm_head.weight"]).SequenceEqual(expected), Is.True);
    }

    private static GgufBuilder Split(uint number, GgufBuilder builder) => builder.UInt32("split.no", number).UInt32("split.count", 2);

    private ModelConfig Read(GgufBuilder builder)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        return checkpoint.Config;
    }
}
