namespace TpServe.Checkpoint.Config;

/// <summary>What transformers assumes about a family where config.json is silent, and which keys the family heeds.</summary>
/// <remarks>Source  the configuration classes of Hugging Face transformers (defaults), its modelling code (which biases exist).</remarks>
internal sealed record HubFamily
{
    public required string Name { get; init; }

    public required int MaxPositions { get; init; }

    public float Theta { get; init; } = 10000f;

    public float NormEpsilon { get; init; } = 1e-6f;

    /// <summary>num_key_value_heads where absent; null = as many as query heads.</summary>
    public int? KvHeads { get; init; }

    /// <summary>head_dim where absent; null = hidden_size / num_attention_heads.</summary>
    public int? HeadDim { get; init; }

    public bool TieEmbeddings { get; init; }

    public int? SlidingWindow { get; init; }

    /// <summary>How layers that slide are chosen.</summary>
    public SlidingRule Sliding { get; init; }

    /// <summary>Biases on query, key and value whatever the file says (Qwen 2).</summary>
    public bool AlwaysQkvBias { get; init; }

    /// <summary>Whether attention_bias is heeded.</summary>
    public bool HeedsAttentionBias { get; init; }

    /// <summary>attention_bias where absent.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>True where attention_bias is none of the output projection's.</summary>
    public bool OutputHasNoBias { get; init; }

    /// <summary>partial_rotary_factor where absent.</summary>
    public float PartialRotary { get; init; } = 1f;

    /// <summary>Whether each head has a sink.</summary>
    public bool Sinks { get; init; }

    /// <summary>Whether mlp_bias is heeded.</summary>
    public bool HeedsMlpBias { get; init; }

    public bool Gemma { get; init; }

    /// <summary>Whether its norms are layer norms.</summary>
    public bool IsLayerNorm { get; init; }

    /// <summary>sliding_window_pattern where absent: each layer of that number sees everything.</summary>
    public int SlidingPattern { get; init; }

    public float AttentionSoftcap { get; init; }

    public float LogitSoftcap { get; init; }

    /// <summary>The family of a model_type; null where TpServe does not know it.</summary>
    public static HubFamily? Find(string modelType) => modelType switch
    {
        "llama" => new() { Name = "llama", MaxPositions = 2048, HeedsAttentionBias = true, HeedsMlpBias = true },
        "mistral" => new() { Name = "mistral", MaxPositions = 131072, KvHeads = 8, SlidingWindow = 4096, Sliding = SlidingRule.All },
        "qwen2" => new() { Name = "qwen2", MaxPositions = 32768, KvHeads = 32, SlidingWindow = 4096, Sliding = SlidingRule.UpperLayers, AlwaysQkvBias = true },
        "qwen3" => new() { Name = "qwen3", MaxPositions = 32768, KvHeads = 32, HeadDim = 128, SlidingWindow = 4096, Sliding = SlidingRule.UpperLayers, HeedsAttentionBias = true },
        "smollm3" => new()
        {
            Name = "smollm3",
            MaxPositions = 32768,
            Theta = 2000000f,
            KvHeads = 4,
            TieEmbeddings = true,
            Sliding = SlidingRule.LayersWithoutRope,
            HeedsAttentionBias = true,
            HeedsMlpBias = true,
        },
        "olmo2" => new() { Name = "olmo2", MaxPositions = 2048, NormEpsilon = 1e-5f, HeedsAttentionBias = true },
        "granite" => new() { Name = "granite", MaxPositions = 2048, HeedsAttentionBias = true, HeedsMlpBias = true },
        "phi3" => new() { Name = "phi3", MaxPositions = 4096, NormEpsilon = 1e-5f, Sliding = SlidingRule.All },
        "gemma2" => new()
        {
            Name = "gemma2",
            MaxPositions = 8192,
            KvHeads = 4,
            HeadDim = 256,
            TieEmbeddings = true,
            SlidingWindow = 4096,
            Sliding = SlidingRule.Pattern,
            SlidingPattern = 2,
            HeedsAttentionBias = true,
            Gemma = true,
            AttentionSoftcap = 50f,
            LogitSoftcap = 30f,
        },
        "gemma3" or "gemma3_text" => new()
        {
            Name = "gemma3",
            MaxPositions = 131072,
            Theta = 1000000f,
            KvHeads = 4,
            HeadDim = 256,
            TieEmbeddings = true,
            SlidingWindow = 4096,
            Sliding = SlidingRule.Pattern,
            SlidingPattern = 6,
            HeedsAttentionBias = true,
            Gemma = true,
        },
        _ => HubMixtures.Find(modelType) ?? HubLayerNorms.Find(modelType),
    };
}

/// <summary>Which layers use the sliding window.</summary>
internal enum SlidingRule
{
    /// <summary>None.</summary>
    Never,

    /// <summary>All, where there is a window.</summary>
    All,

    /// <summary>Those from max_window_layers on, or as layer_types says, and only with use_sliding_window.</summary>
    UpperLayers,

    /// <summary>Those without rotary embedding, or as layer_types says, and only with use_sliding_window.</summary>
    LayersWithoutRope,

    /// <summary>All but each sliding_window_pattern-th, or as layer_types says.</summary>
    Pattern,
}
