namespace TpServe.Checkpoint.Config;

/// <summary>What transformers assumes about families with layer norms.</summary>
/// <remarks>Source  the configuration classes of Hugging Face transformers.</remarks>
internal static class HubLayerNorms
{
    private const float CohereLogitScale = 0.0625f;

    /// <summary>The family of a model_type; null where TpServe does not know it.</summary>
    public static HubFamily? Find(string modelType) => modelType switch
    {
        "starcoder2" => Start("starcoder2", 4096) with { KvHeads = 2, TieEmbeddings = true, Sliding = SlidingRule.All },
        "gpt_neox" => Start("gpt_neox", 2048) with { PartialRotary = 0.25f, HeedsAttentionBias = true, AttentionBias = true },
        "stablelm" => Start("stablelm", 4096) with { KvHeads = 32, PartialRotary = 0.25f },
        "cohere" => Start("cohere", 8192) with { TieEmbeddings = true, HeedsAttentionBias = true },
        "cohere2" => Start("cohere2", 8192) with
        {
            TieEmbeddings = true,
            HeedsAttentionBias = true,
            SlidingWindow = 4096,
            Sliding = SlidingRule.Pattern,
            SlidingPattern = 4,
        },
        _ => null,
    };

    /// <summary>The configuration with what these families have beside the common keys; others as they are.</summary>
    public static ModelConfig Complete(ModelConfig config, JsonSection json, HubFamily family)
    {
        if (!family.IsLayerNorm)
            return config;
        float? epsilon = json.Float(family.Name is "starcoder2" ? "norm_epsilon" : "layer_norm_eps", 0, ConfigLimits.MaxEpsilon);
        config = config with { IsLayerNorm = true, NormEpsilon = epsilon ?? family.NormEpsilon };
        switch (family.Name)
        {
            case "starcoder2":
                bool bias = json.Bool("use_bias") ?? true;
                return config with
                {
                    NormBias = true,
                    QkvBias = bias,
                    OutputBias = bias,
                    MlpBias = bias,
                    IsMlpGated = false,
                    HiddenActivation = json.String("hidden_act") ?? "gelu_pytorch_tanh",
                };
            case "gpt_neox":
                return config with
                {
                    KvHeads = config.Heads, // a head's rows of the fused projection are one triple
                    NormBias = true,
                    MlpBias = true,
                    IsMlpGated = false,
                    IsParallelBlock = json.Bool("use_parallel_residual") ?? true,
                    HiddenActivation = json.String("hidden_act") ?? "gelu",
                };
            case "stablelm":
                if (json.Bool("qk_layernorm") is true)
                    throw json.Fault("qk_layernorm", "is true; TpServe does not norm queries and keys of this family");
                if (json.Bool("use_parallel_residual") is true)
                    throw json.Fault("use_parallel_residual", "is true; TpServe reads blocks of this family whose halves follow each other");
                return config with { NormBias = true, QkvBias = json.Bool("use_qkv_bias") ?? false };
            default:
                if (json.Bool("use_qk_norm") is true)
                    throw json.Fault("use_qk_norm", "is true; TpServe does not norm queries and keys of this family");
                float scale = json.Float("logit_scale", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? CohereLogitScale;
                return config with
                {
                    IsParallelBlock = true,
                    LogitDivisor = 1f / scale,
                    RopeLayers = family.Name is "cohere2" ? SlidingOnly(config.SlidingLayers, config.Layers) : [],
                };
        }
    }

    /// <summary>Layers that slide rotate, those that see everything do not.</summary>
    public static IReadOnlyList<bool> SlidingOnly(IReadOnlyList<bool> sliding, int layers) => sliding.Count > 0 ? sliding : new bool[layers];

    private static HubFamily Start(string name, int maxPositions) => new() { Name = name, MaxPositions = maxPositions, NormEpsilon = 1e-5f, IsLayerNorm = true };
}
