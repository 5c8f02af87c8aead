namespace TpServe.Checkpoint.Config;

/// <summary>What transformers assumes about families with mixtures of experts.</summary>
/// <remarks>Source  the configuration classes of Hugging Face transformers.</remarks>
internal static class HubMixtures
{
    /// <summary>The family of a model_type; null where TpServe does not know it.</summary>
    public static HubFamily? Find(string modelType) => modelType switch
    {
        "mixtral" => new() { Name = "mixtral", MaxPositions = 131072, Theta = 1000000f, NormEpsilon = 1e-5f, KvHeads = 8, Sliding = SlidingRule.All },
        "qwen2_moe" => new()
        {
            Name = "qwen2_moe",
            MaxPositions = 32768,
            KvHeads = 16,
            SlidingWindow = 4096,
            Sliding = SlidingRule.UpperLayers,
            AlwaysQkvBias = true,
        },
        "qwen3_moe" => new() { Name = "qwen3_moe", MaxPositions = 32768, KvHeads = 4, SlidingWindow = 4096, Sliding = SlidingRule.UpperLayers, HeedsAttentionBias = true },
        "gpt_oss" => new()
        {
            Name = "gpt_oss",
            MaxPositions = 131072,
            Theta = 150000f,
            NormEpsilon = 1e-5f,
            KvHeads = 8,
            HeadDim = 64,
            SlidingWindow = 128,
            Sliding = SlidingRule.Pattern,
            SlidingPattern = 2,
            HeedsAttentionBias = true,
            AttentionBias = true,
            Sinks = true,
        },
        "granitemoe" or "granitemoeshared" => new() { Name = "granitemoe", MaxPositions = 2048, HeedsAttentionBias = true },
        "olmoe" => new() { Name = "olmoe", MaxPositions = 4096, NormEpsilon = 1e-5f, HeedsAttentionBias = true },
        "glm4_moe" => new() { Name = "glm4_moe", MaxPositions = 131072, NormEpsilon = 1e-5f, KvHeads = 8, PartialRotary = 0.5f, HeedsAttentionBias = true, OutputHasNoBias = true },
        "deepseek_v2" => new() { Name = "deepseek_v2", MaxPositions = 2048 },
        "deepseek_v3" => new() { Name = "deepseek_v3", MaxPositions = 4096 },
        _ => null,
    };
}

/// <summary>ExpertsConfig from a config.json of Hugging Face.</summary>
/// <remarks>Source  the configuration and modelling code of transformers, which some choices stand in alone.</remarks>
internal static class HubExperts
{
    private const float GptOssAlpha = 1.702f, GptOssLimit = 7f;

    /// <summary>The mixtures of a family that has some; null for others.</summary>
    public static ExpertsConfig? Read(JsonSection json, HubFamily family, int layers)
    {
        ExpertsConfig? experts = family.Name switch
        {
            "mixtral" or "granitemoe" => Start(json, 8, 2, "intermediate_size", null) with { Renormalises = true },
            "olmoe" => Start(json, 64, 8, "intermediate_size", null) with { Renormalises = json.Bool("norm_topk_prob") ?? false },
            "qwen2_moe" => Start(json, 60, 4, "moe_intermediate_size", 1408) with
            {
                Renormalises = json.Bool("norm_topk_prob") ?? false,
                SharedIntermediate = json.Int("shared_expert_intermediate_size", 1, ConfigLimits.MaxSize) ?? 5632,
                SharedGate = true,
            },
            "qwen3_moe" => Start(json, 128, 8, "moe_intermediate_size", 768) with { Renormalises = json.Bool("norm_topk_prob") ?? false },
            "gpt_oss" => Start(json, 128, 4, "intermediate_size", 2880) with
            {
                Renormalises = true,
                RouterBias = true,
                ProjectionBias = true,
                SwiGluAlpha = json.Float("swiglu_alpha", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? GptOssAlpha,
                SwiGluLimit = json.Float("swiglu_limit", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? GptOssLimit,
            },
            "glm4_moe" => Sigmoid(json, 128, 8, 1408, scale: 1f, groups: 1, topGroups: 1),
            "deepseek_v3" => Sigmoid(Checked(json, "noaux_tc", "sigmoid"), 256, 8, 2048, scale: 2.5f, groups: 8, topGroups: 4),
            "deepseek_v2" => Softmax(Checked(json, "greedy", "softmax", "group_limited_greedy")),
            _ => null,
        };
        if (experts is null)
            return null;
        if (family.Name is "granitemoe" && json.Int("shared_intermediate_size", 0, ConfigLimits.MaxSize) is { } shared)
            experts = experts with { SharedIntermediate = shared };
        if (json.Float("clip_qkv", ConfigLimits.Tiny, ConfigLimits.MaxFactor) is { } clip)
            throw json.Fault("clip_qkv", $"is {clip}; TpServe does not clip queries, keys and values");
        return ConfigLimits.Check(experts with { Layers = Sparse(json, family, layers) }, json.File);
    }

    private static ExpertsConfig Start(JsonSection json, int count, int perToken, string widthKey, int? width)
    {
        return new ExpertsConfig
        {
            Count = Int("num_experts") ?? Int("num_local_experts") ?? Int("n_routed_experts") ?? count,
            PerToken = Int("num_experts_per_tok") ?? Int("experts_per_token") ?? perToken,
            Intermediate = json.Int(widthKey, 1, ConfigLimits.MaxSize) ?? width ?? throw json.Missing(widthKey),
            Layers = [],
        };

        int? Int(string key) => json.Int(key, 0, ConfigLimits.MaxSize);
    }

    /// <summary>DeepSeek's files name their router: another than the family's is refused.</summary>
    private static JsonSection Checked(JsonSection json, string method, string scoring, string? otherMethod = null)
    {
        if (json.String("topk_method") is { } found && found != method && found != otherMethod)
            throw json.Fault("topk_method", $"is '{found}'; supported are {method}{(otherMethod is null ? "" : $" and {otherMethod}")}");
        if (json.String("scoring_func") is { } function && function != scoring)
            throw json.Fault("scoring_func", $"is '{function}'; it must be {scoring}");
        if (json.Int("moe_layer_freq", 1, ConfigLimits.MaxLayers) is { } step and not 1)
            throw json.Fault("moe_layer_freq", $"is {step}; it must be 1");
        return json;
    }

    /// <summary>The router of DeepSeek V2: weights are not renormalised.</summary>
    private static ExpertsConfig Softmax(JsonSection json)
    {
        ExpertsConfig start = Start(json, 64, 6, "moe_intermediate_size", 1407);
        if (json.Bool("norm_topk_prob") is true)
            throw json.Fault("norm_topk_prob", "is true; the references disagree on what that means in this architecture");
        bool isGrouped = json.String("topk_method") is "group_limited_greedy";
        return start with
        {
            Scale = json.Float("routed_scaling_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 1f,
            Groups = isGrouped ? json.Int("n_group", 1, ConfigLimits.MaxExperts) ?? throw json.Missing("n_group") : 1,
            TopGroups = isGrouped ? json.Int("topk_group", 1, ConfigLimits.MaxExperts) ?? throw json.Missing("topk_group") : 1,
            SharedIntermediate = Shared(json, start, 2),
        };
    }

    /// <summary>The width of the MLP beside the experts, which is given in experts.</summary>
    private static int Shared(JsonSection json, ExpertsConfig experts, int absent) =>
        (int)Math.Min(int.MaxValue, (long)experts.Intermediate * (json.IsNull("n_shared_experts") ? 0 : json.Int("n_shared_experts", 0, ConfigLimits.MaxExperts) ?? absent));

    /// <summary>The router of DeepSeek V3, which GLM 4.5 has too.</summary>
    private static ExpertsConfig Sigmoid(JsonSection json, int count, int perToken, int width, float scale, int groups, int topGroups)
    {
        ExpertsConfig start = Start(json, count, perToken, "moe_intermediate_size", width);
        return start with
        {
            Scoring = RouterScoring.Sigmoid,
            Renormalises = json.Bool("norm_topk_prob") ?? true,
            Scale = json.Float("routed_scaling_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? scale,
            Groups = json.Int("n_group", 1, ConfigLimits.MaxExperts) ?? groups,
            TopGroups = json.Int("topk_group", 1, ConfigLimits.MaxExperts) ?? topGroups,
            CorrectionBias = true,
            SharedIntermediate = Shared(json, start, 1),
        };
    }

    private static bool[] Sparse(JsonSection json, HubFamily family, int layers)
    {
        int step = family.Name is "qwen2_moe" or "qwen3_moe" ? json.Int("decoder_sparse_step", 1, ConfigLimits.MaxLayers) ?? 1 : 1;
        int dense = family.Name switch
        {
            "glm4_moe" => Dense(1),
            "deepseek_v2" => Dense(0),
            "deepseek_v3" => Dense(3),
            _ => 0,
        };
        IReadOnlyList<int> without = json.Ints("mlp_only_layers", 0, ConfigLimits.MaxLayers) ?? [];
        return [.. Enumerable.Range(0, layers).Select(layer => layer >= dense && (layer + 1) % step == 0 && !without.Contains(layer))];

        int Dense(int absent) => json.Int("first_k_dense_replace", 0, ConfigLimits.MaxLayers) ?? absent;
    }
}
