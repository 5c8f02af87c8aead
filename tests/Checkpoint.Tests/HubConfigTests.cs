using NUnit.Framework;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Tests;

public sealed class HubConfigTests
{
    private HubFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new HubFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public void Config_SilentLlama_TakesTheReferencesDefaults()
    {
        ModelConfig config = Read("llama");
        Assert.Multiple(() =>
        {
            Assert.That((config.HeadDim, config.MaxPositions, config.NormEpsilon, config.TieEmbeddings), Is.EqualTo((16, 2048, 1e-6f, false)));
            Assert.That((config.Rope.Theta, config.Rope.RotaryDim, config.Rope.Scaling), Is.EqualTo((10000f, 16, RopeScaling.None)));
            Assert.That((config.HiddenActivation, config.AttentionScale, config.EmbeddingScale, config.ResidualScale, config.LogitDivisor), Is.EqualTo(("silu", (float?)null, 1f, 1f, 1f)));
            Assert.That(config.SlidingLayers, Is.Empty);
            Assert.That(config.RopeLayers, Is.Empty);
        });
    }

    [TestCase("attention_scale_2", "0.5")]
    [TestCase("final_norm_bias", "true")]
    [TestCase("use_attn_sinks", "true")]
    [TestCase("mamba_d_state", "16")]
    [TestCase("residual_scale", "[1, 2]")]
    [TestCase("expert_gating", "\"sparse\"")]
    public void Config_KeyThatNobodyReadsAndArithmeticWould_IsRefusedByName(string key, string value) =>
        Assert.That(Assert.Throws<ModelLoadException>(() => Read("llama", $"\"{key}\": {value}"))!.Message, Does.Contain($"'{key}'").And.Contains("take it out"));

    [TestCase("attention_scale_2", "null")]
    [TestCase("final_norm_bias", "false")]
    [TestCase("residual_scale", "1.0")]
    [TestCase("sink_count", "0")]
    [TestCase("expert_gating", "\"\"")]
    [TestCase("attention_multiplier", "0.3")] // Granite's: the reference's Llama ignores it
    [TestCase("attention_dropout", "0.1")]
    [TestCase("router_aux_loss_coef", "0.01")]
    [TestCase("_attn_implementation_autoset", "true")]
    [TestCase("pretraining_tp", "4")]
    [TestCase("unsloth_version", "\"2026.1\"")]
    public void Config_KeyThatAsksForNothing_IsPassedOver(string key, string value) => Assert.That(() => Read("llama", $"\"{key}\": {value}"), Throws.Nothing);

    [TestCase("mixtral", "\"num_local_experts\": 0", "0 experts")]
    [TestCase("mixtral", "\"num_experts_per_tok\": 9", "9 experts of 8")]
    [TestCase("qwen3_moe", "\"num_experts\": 5000", "5000 experts")]
    [TestCase("qwen3_moe", "\"decoder_sparse_step\": 0", "decoder_sparse_step")]
    [TestCase("glm4_moe", "\"n_group\": 3, \"n_routed_experts\": 8", "3 groups")]
    [TestCase("glm4_moe", "\"n_group\": 8, \"topk_group\": 1, \"n_routed_experts\": 8", "8 experts")]
    [TestCase("olmoe", "\"clip_qkv\": 8.0", "clip_qkv")]
    [TestCase("deepseek_v2", "\"kv_lora_rank\": 0", "kv_lora_rank")]
    [TestCase("deepseek_v2", "\"qk_rope_head_dim\": 7", "an even number")]
    [TestCase("deepseek_v2", "\"topk_method\": \"group_limited_greedy\"", "n_group")]
    [TestCase("deepseek_v2", "\"norm_topk_prob\": true", "norm_topk_prob")]
    [TestCase("deepseek_v3", "\"topk_method\": \"greedy\"", "topk_method")]
    [TestCase("deepseek_v3", "\"attention_bias\": true", "attention_bias")]
    [TestCase("deepseek_v3", "\"moe_layer_freq\": 2", "moe_layer_freq")]
    public void Config_ImpossibleExperts_AreRefused(string modelType, string json, string says) =>
        Assert.That(Assert.Throws<ModelLoadException>(() => Read(modelType, json))!.Message, Does.Contain(says));

    [Test]
    public void Config_SilentMixtures_TakeTheReferencesDefaults()
    {
        ExpertsConfig qwen2 = Read("qwen2_moe").Experts!, glm = Read("glm4_moe").Experts!;
        Assert.Multiple(() =>
        {
            Assert.That((qwen2.Count, qwen2.PerToken, qwen2.Intermediate, qwen2.SharedIntermediate, qwen2.SharedGate, qwen2.Renormalises), Is.EqualTo((60, 4, 1408, 5632, true, false)));
            Assert.That((glm.Count, glm.PerToken, glm.Scoring, glm.CorrectionBias, glm.SharedIntermediate), Is.EqualTo((128, 8, RouterScoring.Sigmoid, true, 1408)));
            Assert.That(glm.Layers, Is.EqualTo(new[] { false, true, true, true }));
            Assert.That(Read("qwen2_moe", "\"decoder_sparse_step\": 2, \"mlp_only_layers\": [3]").Experts!.Layers, Is.EqualTo(new[] { false, true, false, false }));
            Assert.That((Read("gpt_oss").Rope.Scaling, Read("gpt_oss").Rope.Factor, Read("gpt_oss").SlidingLayers[0]), Is.EqualTo((RopeScaling.Yarn, 32f, true)));
            Assert.That(Read("glm4_moe").Rope.RotaryDim, Is.EqualTo(8));
        });
    }

    [Test]
    public void Config_YarnOfLatentAttention_ScalesScoresTwice()
    {
        ModelConfig config = Read("deepseek_v2", """
            "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
            "rope_scaling": { "type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096 }
            """);
        double magnitude = (0.1 * 0.707 * Math.Log(40)) + 1;
        Assert.That(config.AttentionScale, Is.EqualTo(magnitude * magnitude / Math.Sqrt(192)).Within(1e-7));
        Assert.That((config.Latent!.QueryRank, config.Latent.NeighboursRotate, config.Rope.RotaryDim), Is.EqualTo((0, true, 64)));
    }

    [Test]
    public void Config_SilentFamiliesWithLayerNorms_TakeTheReferencesDefaults()
    {
        ModelConfig coder = Read("starcoder2"), neox = Read("gpt_neox"), cohere = Read("cohere"), cohere2 = Read("cohere2", "\"logit_scale\": 0.25, \"sliding_window_pattern\": 2");
        Assert.Multiple(() =>
        {
            Assert.That((coder.IsLayerNorm, coder.NormBias, coder.QkvBias, coder.OutputBias, coder.MlpBias, coder.IsMlpGated, coder.IsParallelBlock), Is.EqualTo((true, true, true, true, true, false, false)));
            Assert.That((coder.HiddenActivation, coder.SlidingWindow, coder.TieEmbeddings, coder.NormEpsilon), Is.EqualTo(("gelu_pytorch_tanh", 0, true, 1e-5f)));
            Assert.That((neox.NormBias, neox.QkvBias, neox.MlpBias, neox.IsMlpGated, neox.IsParallelBlock, neox.HiddenActivation, neox.Rope.RotaryDim), Is.EqualTo((true, true, true, false, true, "gelu", 4)));
            Assert.That((cohere.NormBias, cohere.QkvBias, cohere.IsMlpGated, cohere.IsParallelBlock, cohere.LogitDivisor, cohere.TieEmbeddings), Is.EqualTo((false, false, true, true, 16f, true)));
            Assert.That((cohere2.SlidingWindow, cohere2.LogitDivisor), Is.EqualTo((4096, 4f)));
            Assert.That(cohere2.SlidingLayers, Is.EqualTo(new[] { true, false, true, false }));
            Assert.That(cohere2.RopeLayers, Is.EqualTo(cohere2.SlidingLayers), "layers that see everything do not rotate");
        });
    }

    [Test]
    public void Config_FamiliesWithLayerNorms_HeedTheirKeys()
    {
        ModelConfig neox = Read("gpt_neox", "\"rotary_pct\": 0.5, \"rotary_emb_base\": 500, \"use_parallel_residual\": false, \"layer_norm_eps\": 1e-3");
        Assert.That((neox.Rope.RotaryDim, neox.Rope.Theta, neox.IsParallelBlock, neox.NormEpsilon), Is.EqualTo((8, 500f, false, 1e-3f)));
        ModelConfig coder = Read("starcoder2", "\"use_bias\": false, \"sliding_window\": 64, \"norm_epsilon\": 1e-3");
        Assert.That((coder.QkvBias, coder.MlpBias, coder.SlidingWindow, coder.NormEpsilon), Is.EqualTo((false, false, 64, 1e-3f)));
        ModelConfig stable = Read("stablelm", "\"use_qkv_bias\": true");
        Assert.That((stable.IsLayerNorm, stable.NormBias, stable.QkvBias, stable.OutputBias, stable.IsMlpGated, stable.Rope.RotaryDim), Is.EqualTo((true, true, true, false, true, 4)));
        Assert.That(() => Read("stablelm", "\"qk_layernorm\": true"), Throws.TypeOf<ModelLoadException>().With.Message.Contains("qk_layernorm"));
        Assert.That(() => Read("stablelm", "\"use_parallel_residual\": true"), Throws.TypeOf<ModelLoadException>().With.Message.Contains("use_parallel_residual"));
        Assert.That(() => Read("cohere", "\"use_qk_norm\": true"), Throws.TypeOf<ModelLoadException>().With.Message.Contains("use_qk_norm"));
    }

    [Test]
    public void Tensors_OfGptNeox_HaveTheCommonNamesAndTheirOrder()
    {
        (string Name, string Type, int[] Shape, byte[] Data)[] tensors =
        [
            ("gpt_neox.embed_in.weight", "F32", [8, 64], new byte[2048]), ("gpt_neox.layers.0.attention.query_key_value.weight", "F32", [192, 64], new byte[49152]),
            ("gpt_neox.layers.0.attention.bias", "F32", [2], new byte[8]), ("gpt_neox.layers.0.mlp.dense_h_to_4h.bias", "F32", [2], new byte[8]), ("embed_out.weight", "F32", [8, 64], new byte[2048]),
        ];
        _folder.Config("gpt_neox").Write("model.safetensors", HubFolder.Safetensors(tensors));
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        string[] expected = ["lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.bias", "model.layers.0.self_attn.qkv_proj.weight"];
        Assert.That(checkpoint.Tensors.Keys.Order(StringComparer.Ordinal), Is.EqualTo(expected));
        Assert.That(checkpoint.Tensors[expected[3]].RowOrder, Is.EqualTo(RowOrder.HeadTriples));
    }

    [Test]
    public void Config_KvHeadsNull_AreAsManyAsHeads() => Assert.That(Read("llama", "\"num_key_value_heads\": null").KvHeads, Is.EqualTo(4));

    [TestCase("\"rope_theta\": 500000.0")]
    [TestCase("\"rope_parameters\": { \"rope_theta\": 500000.0, \"rope_type\": \"default\" }")]
    [TestCase("\"rope_theta\": 500000.0, \"rope_parameters\": { \"rope_type\": \"default\" }")]
    public void Config_ThetaInEitherStyle_IsRead(string json) => Assert.That(Read("llama", json).Rope.Theta, Is.EqualTo(500000f));

    [TestCase("\"rope_scaling\": { \"type\": \"linear\", \"factor\": 2 }")]
    [TestCase("\"rope_scaling\": { \"rope_type\": \"linear\", \"factor\": 2.0 }")]
    [TestCase("\"rope_parameters\": { \"rope_type\": \"linear\", \"factor\": 2.0, \"rope_theta\": 10000 }")]
    public void Config_LinearScalingInEveryStyle_IsRead(string json)
    {
        RopeConfig rope = Read("llama", json).Rope;
        Assert.That((rope.Scaling, rope.Factor, rope.Theta), Is.EqualTo((RopeScaling.Linear, 2f, 10000f)));
    }

    [Test]
    public void Config_YarnBeyondTheStatedContext_Extends()
    {
        ModelConfig config = Read("qwen2", """
            "max_position_embeddings": 32768,
            "rope_scaling": { "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "beta_fast": 16, "truncate": false, "attention_factor": 1.5, "mscale": 0.7 }
            """);
        Assert.That(config.MaxPositions, Is.EqualTo(131072));
        Assert.That(
            (config.Rope.BetaFast, config.Rope.YarnTruncate, config.Rope.AttentionFactor, config.Rope.Mscale),
            Is.EqualTo((16f, false, (float?)1.5f, 0.7f)));
    }

    [TestCase("longrope")]
    [TestCase("su")]
    public void Config_Phi3LongRopeOnPartOfTheHead_IsRead(string type)
    {
        ModelConfig config = Read("phi3", $$"""
            "max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.5,
            "rope_scaling": { "type": "{{type}}", "short_factor": [1, 1, 1, 1.5], "long_factor": [1, 2, 3, 4] }
            """);
        Assert.Multiple(() =>
        {
            Assert.That((config.Rope.Scaling, config.Rope.RotaryDim, config.Rope.Factor, config.Rope.OriginalMaxPositions), Is.EqualTo((RopeScaling.LongRope, 8, 32f, 4096)));
            Assert.That(config.Rope.ShortFactors, Is.EqualTo(new[] { 1f, 1f, 1f, 1.5f }));
            Assert.That(config.Rope.LongFactors, Is.EqualTo(new[] { 1f, 2f, 3f, 4f }));
        });
    }

    [Test]
    public void Config_QwenUpperLayersSlide_FromMaxWindowLayersOn()
    {
        ModelConfig config = Read("qwen2", "\"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 3");
        Assert.That(config.SlidingWindow, Is.EqualTo(16));
        Assert.That(config.SlidingLayers, Is.EqualTo(new[] { false, false, false, true }));
    }

    [Test]
    public void Config_QwenLayerTypes_GoBeforeMaxWindowLayers()
    {
        string types = "\"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\", \"full_attention\"]";
        Assert.That(Read("qwen3", $"\"use_sliding_window\": true, \"max_window_layers\": 3, {types}").SlidingLayers, Is.EqualTo(new[] { true, false, false, false }));
        Assert.That(Read("qwen3", $"\"use_sliding_window\": false, {types}").SlidingWindow, Is.Zero);
    }

    [Test]
    public void Config_MistralWindow_IsWhatTheFileSaysOrTheDefault()
    {
        Assert.That(Read("mistral").SlidingWindow, Is.EqualTo(4096));
        Assert.That(Read("mistral", "\"sliding_window\": null").SlidingWindow, Is.Zero);
    }

    [Test]
    public void Config_SmolLm3WithoutLists_LeavesEveryFourthLayerUnrotated()
    {
        ModelConfig config = Read("smollm3", "\"use_sliding_window\": true, \"sliding_window\": 8");
        Assert.That(config.RopeLayers, Is.EqualTo(new[] { true, true, true, false }));
        Assert.That(config.SlidingLayers, Is.EqualTo(new[] { false, false, false, true }));
    }

    [Test]
    public void Config_Gemma3WithImages_IsReadFromItsTextPart()
    {
        _folder.Write("config.json", """
            { "model_type": "gemma3", "eos_token_id": [1, 106], "vision_config": { "hidden_size": 1152 },
              "text_config": { "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 7,
                               "rope_scaling": { "factor": 8.0, "rope_type": "linear" }, "sliding_window": 1024 } }
            """);
        _folder.Write("model.safetensors", HubFolder.Safetensors(
            ("language_model.model.norm.weight", "BF16", [1], new byte[2]),
            ("vision_tower.vision_model.head.weight", "BF16", [1], new byte[2]),
            ("model.language_model.layers.0.input_layernorm.weight", "BF16", [1], new byte[2])));
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        ModelConfig config = checkpoint.Config;
        Assert.Multiple(() =>
        {
            Assert.That((config.Architecture, config.Hidden, config.Heads, config.KvHeads, config.HeadDim, config.Vocab), Is.EqualTo(("gemma3", 2560, 8, 4, 256, 262208)));
            Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, true, true, true, true, false, true }));
            Assert.That(config.EmbeddingScale, Is.EqualTo(MathF.Sqrt(2560)));
            Assert.That((config.Rope.Theta, config.Rope.Factor, config.LocalRope!.Theta), Is.EqualTo((1e6f, 8f, 1e4f)));
            Assert.That(checkpoint.Tensors.Keys, Is.EquivalentTo(new[] { "model.norm.weight", "model.layers.0.input_layernorm.weight" }));
            Assert.That(checkpoint.Tensors["model.norm.weight"].FileName, Is.EqualTo("language_model.model.norm.weight"));
            Assert.That(checkpoint.Generation.EosTokenIds, Is.EqualTo(new[] { 1, 106 }));
        });
    }

    [Test]
    public void Config_Gemma3NewStyle_HasARopeForEachKindOfLayer()
    {
        ModelConfig config = Read("gemma3_text", """
            "sliding_window_pattern": 2,
            "rope_parameters": { "full_attention": { "rope_theta": 2e6, "rope_type": "linear", "factor": 4.0 }, "sliding_attention": { "rope_theta": 3e4, "rope_type": "default" } }
            """);
        Assert.That((config.Rope.Theta, config.Rope.Scaling, config.Rope.Factor), Is.EqualTo((2e6f, RopeScaling.Linear, 4f)));
        Assert.That((config.LocalRope!.Theta, config.LocalRope.Scaling), Is.EqualTo((3e4f, RopeScaling.None)));
        Assert.That(config.SlidingLayers, Is.EqualTo(new[] { true, false, true, false }));
    }

    [Test]
    public void Config_Gemma2Softcaps_AbsentIsDefaultAndNullIsNone()
    {
        Assert.That(Read("gemma2").AttentionSoftcap, Is.EqualTo(50f));
        Assert.That(Read("gemma2").LogitSoftcap, Is.EqualTo(30f));
        Assert.That(Read("gemma2", "\"attn_logit_softcapping\": null").AttentionSoftcap, Is.Zero);
    }

    [Test]
    public void Config_KeysOfOtherFamilies_AreNotHeeded()
    {
        ModelConfig config = Read("mistral", "\"attention_bias\": true, \"mlp_bias\": true, \"embedding_multiplier\": 5, \"attn_logit_softcapping\": 5");
        Assert.That((config.QkvBias, config.MlpBias, config.EmbeddingScale, config.AttentionSoftcap), Is.EqualTo((false, false, 1f, 0f)));
    }

    [TestCase("\"num_hidden_layers\": 0", "num_hidden_layers", "1024")]
    [TestCase("\"num_hidden_layers\": 1025", "num_hidden_layers", "1024")]
    [TestCase("\"hidden_size\": -64", "hidden_size", "-64")]
    [TestCase("\"hidden_size\": 4294967296", "hidden_size", "4294967296")]
    [TestCase("\"hidden_size\": 1e400", "hidden_size", "1e400")]
    [TestCase("\"hidden_size\": 64.5", "hidden_size", "integer")]
    [TestCase("\"hidden_size\": \"64\"", "hidden_size", "integer")]
    [TestCase("\"hidden_size\": 66", "hidden_size", "multiple")]
    [TestCase("\"num_key_value_heads\": 3", "num_key_value_heads", "multiple")]
    [TestCase("\"vocab_size\": null", "vocab_size", "missing")]
    [TestCase("\"rms_norm_eps\": -1", "rms_norm_eps", "-1")]
    [TestCase("\"rms_norm_eps\": true", "rms_norm_eps", "number")]
    [TestCase("\"tie_word_embeddings\": 1", "tie_word_embeddings", "true or false")]
    [TestCase("\"rope_theta\": 0", "rope_theta", "0")]
    [TestCase("\"rope_scaling\": 5", "rope_scaling", "object")]
    [TestCase("\"rope_scaling\": { \"type\": \"linear\" }", "rope_scaling.factor", "missing")]
    [TestCase("\"rope_scaling\": { \"type\": \"spiral\" }", "rope_type", "spiral")]
    [TestCase("\"rope_scaling\": { \"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1 }", "high_freq_factor", "missing")]
    [TestCase("\"rope_scaling\": { \"type\": \"longrope\", \"long_factor\": [1] }", "short_factor", "missing")]
    [TestCase("\"rope_scaling\": { \"type\": \"longrope\", \"long_factor\": [1], \"short_factor\": [1, 0] }", "short_factor[1]", "0")]
    [TestCase("\"rope_scaling\": { \"type\": \"longrope\", \"long_factor\": [1], \"short_factor\": [1] }", "short factors", "8 are needed")]
    [TestCase("\"partial_rotary_factor\": 0.1", "rotated", "even")]
    [TestCase("\"head_dim\": 2147483647", "head_dim", "65536")]
    [TestCase("\"quantization_config\": { \"quant_method\": \"bitsandbytes\" }", "quant_method", "bitsandbytes")]
    [TestCase("\"quantization_config\": { \"quant_method\": \"awq\", \"version\": \"gemv\" }", "version", "gemv")]
    [TestCase("\"quantization_config\": { \"quant_method\": \"gptq\", \"checkpoint_format\": \"marlin\" }", "checkpoint_format", "marlin")]
    [TestCase("\"quantization_config\": { \"quant_method\": \"compressed-tensors\", \"format\": \"nvfp4-pack-quantized\" }", "format", "nvfp4-pack-quantized")]
    [TestCase("\"quantization_config\": { \"quant_method\": \"fp8\", \"fmt\": \"e5m2\" }", "fmt", "e5m2")]
    public void Open_WrongSetting_NamesFileKeyAndValue(string json, string key, string words)
    {
        _folder.Config("llama", json);
        string message = Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message;
        Assert.That(message, Does.Contain("config.json").And.Contain(key).And.Contain(words));
    }

    [TestCase("\"layer_types\": [\"full_attention\"]", "layer_types", "4 layers")]
    [TestCase("\"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\", \"chunked_attention\"]", "layer_types[3]", "chunked_attention")]
    [TestCase("\"sliding_window\": 0", "sliding_window", "0")]
    public void Open_WrongGemmaSetting_NamesKeyAndValue(string json, string key, string words)
    {
        _folder.Config("gemma2", json);
        string message = Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message;
        Assert.That(message, Does.Contain(key).And.Contain(words));
    }

    [TestCase("", "not valid JSON")]
    [TestCase("[]", "object")]
    [TestCase("{", "not valid JSON")]
    [TestCase("{}", "model_type")]
    [TestCase("{\"model_type\": \"\\ud800\"}", "model_type")]
    public void Open_WrongJson_NamesTheFile(string json, string words)
    {
        _folder.Write("config.json", json);
        string message = Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message;
        Assert.That(message, Does.Contain("config.json").And.Contain(words));
    }

    [Test]
    public void Open_DeepJson_IsRefused()
    {
        _folder.Write("config.json", string.Concat(Enumerable.Repeat("{\"a\":", 100_000)));
        Assert.That(Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message, Does.Contain("config.json"));
    }

    [Test]
    public void Open_UnknownArchitectureWhateverItsFiles_KeepsItsName()
    {
        _folder.Config("deepseek_v9", "\"quantization_config\": { \"quant_method\": \"mxfp4\" }").Delete("tokenizer.json").Delete("model.safetensors");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        Assert.That(checkpoint.Config.Architecture, Is.EqualTo("deepseek_v9"));
    }

    private ModelConfig Read(string modelType, string more = "")
    {
        _folder.Config(modelType, more);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        return checkpoint.Config;
    }

    [TestCase("config.json", """{"model_type":"llama","\ud800":1}""")]
    [TestCase("config.json", """{"model_type":"llama","rope_scaling":{"\uDC00factor":1}}""")]
    [TestCase("generation_config.json", """{"\ud800":1,"eos_token_id":2}""")]
    [TestCase("tokenizer_config.json", """{"\udc00\ud800":1}""")]
    public void Open_NameThatIsHalfASurrogatePair_IsRefusedByFile(string file, string json)
    {
        using HubFolder folder = new HubFolder().Write(file, json);
        Assert.That(() => ModelCheckpoints.Open(folder.Path), Throws.TypeOf<ModelLoadException>().With.Message.Contains(file).And.Message.Contains("half of a surrogate pair"));
    }
}
