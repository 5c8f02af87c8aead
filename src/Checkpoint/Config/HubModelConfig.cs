namespace TpServe.Checkpoint.Config;

/// <summary>ModelConfig from a config.json of Hugging Face.</summary>
/// <remarks>Oracle  the checkpoints of the golden set, which transformers wrote.</remarks>
internal static class HubModelConfig
{
    private const int GemmaHeads = 8, Gemma3Vocab = 262208, GemmaQueryScalar = 256;

    /// <summary>Reads the root of config.json. An architecture it does not know gives its name and sizes of 0.</summary>
    public static ModelConfig Read(JsonSection root)
    {
        string modelType = root.String("model_type") ?? throw root.Missing("model_type");
        if (HubFamily.Find(modelType) is not { } family)
            return ModelConfig.Unknown(modelType);
        // Gemma 3 with images keeps the text model's settings one level down.
        JsonSection json = root.Object("text_config") is { } text && family.Name is "gemma3" ? text : root;
        HubConfigKeys.Check(json);
        return Read(json, family);
    }

    private static ModelConfig Read(JsonSection json, HubFamily family)
    {
        // 1. Sizes.
        int hidden = json.RequiredInt("hidden_size", 1, ConfigLimits.MaxSize);
        int layers = json.RequiredInt("num_hidden_layers", 1, ConfigLimits.MaxLayers);
        int heads = json.Int("num_attention_heads", 1, ConfigLimits.MaxHeads) ?? (family.Gemma ? GemmaHeads : throw json.Missing("num_attention_heads"));
        int kvHeads = json.Int("num_key_value_heads", 1, ConfigLimits.MaxHeads) ?? (json.IsNull("num_key_value_heads") ? heads : family.KvHeads ?? heads);
        LatentConfig? latent = HubLatent.Read(json, family);
        if (latent is not null)
            kvHeads = 1; // the latent row, whatever the file calls its heads
        int headDim = latent?.RowDim ?? HeadDim(json, family, hidden, heads);
        int vocab = json.Int("vocab_size", 1, ConfigLimits.MaxSize) ?? (family.Name is "gemma3" ? Gemma3Vocab : throw json.Missing("vocab_size"));
        int maxPositions = json.Int("max_position_embeddings", 1, ConfigLimits.MaxSize) ?? family.MaxPositions;

        // 2. Rotary embedding and windows.
        (RopeConfig rope, RopeConfig? localRope) = HubRope.Read(json, family, latent?.RopeDim ?? headDim, maxPositions);
        IReadOnlyList<bool> ropeLayers = HubLayers.Rope(json, family, layers);
        (int window, IReadOnlyList<bool> sliding) = HubLayers.Sliding(json, family, layers, ropeLayers);

        // 3. The rest.
        bool attentionBias = family.HeedsAttentionBias && (json.Bool("attention_bias") ?? family.AttentionBias);
        ExpertsConfig? experts = HubExperts.Read(json, family, layers);
        string activationKey = family.Gemma ? "hidden_activation" : "hidden_act";
        return ConfigLimits.Check(HubLayerNorms.Complete(new ModelConfig
        {
            Architecture = family.Name,
            Hidden = hidden,
            Layers = layers,
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            Latent = latent,
            Intermediate = json.Int("intermediate_size", 1, ConfigLimits.MaxSize) ?? experts?.Intermediate ?? throw json.Missing("intermediate_size"),
            Experts = experts is not null && experts.Layers.Contains(true) ? experts : null,
            AttentionSinks = family.Sinks,
            QueryKeyNorm = family.Name is not "glm4_moe" || (json.Bool("use_qk_norm") ?? false),
            Vocab = vocab,
            MaxPositions = HubRope.Extended(rope, maxPositions),
            NormEpsilon = json.Float("rms_norm_eps", 0, ConfigLimits.MaxEpsilon) ?? family.NormEpsilon,
            NormWeightsAddOne = family.Gemma,
            TieEmbeddings = json.Bool("tie_word_embeddings") ?? family.TieEmbeddings,
            Rope = rope,
            LocalRope = localRope,
            SlidingWindow = window,
            SlidingLayers = sliding,
            RopeLayers = ropeLayers,
            QkvBias = family.AlwaysQkvBias || attentionBias,
            OutputBias = attentionBias && !family.OutputHasNoBias,
            MlpBias = family.HeedsMlpBias && (json.Bool("mlp_bias") ?? false),
            HiddenActivation = json.String(activationKey) ?? (family.Gemma ? "gelu_pytorch_tanh" : "silu"),
            AttentionScale = latent is null ? AttentionScale(json, family) : HubLatent.Scale(latent, rope),
            AttentionSoftcap = Softcap(json, family, "attn_logit_softcapping", family.AttentionSoftcap),
            LogitSoftcap = Softcap(json, family, "final_logit_softcapping", family.LogitSoftcap),
            EmbeddingScale = family.Gemma ? MathF.Sqrt(hidden) : Multiplier(json, family, "embedding_multiplier"),
            ResidualScale = Multiplier(json, family, "residual_multiplier"),
            LogitDivisor = Multiplier(json, family, "logits_scaling"),
        }, json, family), json.File, "num_attention_heads", "num_key_value_heads");
    }

    private static int HeadDim(JsonSection json, HubFamily family, int hidden, int heads)
    {
        int? given = json.Int("head_dim", 1, ConfigLimits.MaxHeadDim) ?? (json.IsNull("head_dim") ? null : family.HeadDim);
        if (given is null && hidden % heads != 0)
            throw json.Fault("hidden_size", $"is {hidden}, not a multiple of 'num_attention_heads', which is {heads}, and there is no 'head_dim'");
        return given ?? hidden / heads;
    }

    private static float? AttentionScale(JsonSection json, HubFamily family) => family.Name switch
    {
        "granite" or "granitemoe" => json.Float("attention_multiplier", -ConfigLimits.MaxFactor, ConfigLimits.MaxFactor) ?? 1f,
        _ when family.Gemma => 1f / MathF.Sqrt(json.Float("query_pre_attn_scalar", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? GemmaQueryScalar),
        _ => null,
    };

    private static float Softcap(JsonSection json, HubFamily family, string key, float absent)
    {
        if (!family.Gemma)
            return 0f;
        return json.Has(key) ? json.Float(key, ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 0f : absent;
    }

    private static float Multiplier(JsonSection json, HubFamily family, string key) =>
        family.Name is "granite" or "granitemoe" ? json.Float(key, ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 1f : 1f;
}
