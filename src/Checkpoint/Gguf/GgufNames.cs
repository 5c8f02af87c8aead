namespace TpServe.Checkpoint.Gguf;

/// <summary>Hugging Face names of GGUF tensors, for the architectures TpServe knows.</summary>
/// <remarks>Source  the tensor name tables of the gguf Python package.</remarks>
internal static class GgufNames
{
    /// <summary>Tensors that become part of the configuration and not of the weights.</summary>
    public const string RopeFrequencies = "rope_freqs.weight", RopeShort = "rope_factors_short.weight", RopeLong = "rope_factors_long.weight";

    /// <summary>The architectures that are read, by their names in such files.</summary>
    public static readonly string[] Architectures =
    [
        "llama", "qwen2", "qwen3", "smollm3", "olmo2", "granite", "phi3", "gemma2", "gemma3", "qwen2moe", "qwen3moe", "gpt-oss", "granitemoe", "olmoe", "glm4moe", "deepseek2",
        "starcoder2", "gptneox", "command-r", "cohere2", "stablelm",
    ];

    // Files of these architectures have query and key rows in the order of a rotary embedding of neighbouring pairs, by the converter or from the first.
    private static readonly string[] InterleavedArchitectures = ["llama", "granite", "smollm3", "granitemoe", "command-r", "cohere2"];

    /// <summary>Routers of mixtures, in a block.</summary>
    public static readonly string[] RouterParts = ["mlp.gate", "mlp.router", "block_sparse_moe.gate", "block_sparse_moe.router.layer"];

    private static readonly Dictionary<string, string> Top = new(StringComparer.Ordinal)
    {
        ["token_embd"] = "model.embed_tokens",
        ["output_norm"] = "model.norm",
        ["output"] = "lm_head",
    };

    private static readonly Dictionary<string, string> Block = new(StringComparer.Ordinal)
    {
        ["attn_norm"] = "input_layernorm",
        ["attn_q"] = "self_attn.q_proj",
        ["attn_k"] = "self_attn.k_proj",
        ["attn_v"] = "self_attn.v_proj",
        ["attn_qkv"] = "self_attn.qkv_proj",
        ["attn_q_a"] = "self_attn.q_a_proj",
        ["attn_q_a_norm"] = "self_attn.q_a_layernorm",
        ["attn_q_b"] = "self_attn.q_b_proj",
        ["attn_kv_a_mqa"] = "self_attn.kv_a_proj_with_mqa",
        ["attn_kv_a_norm"] = "self_attn.kv_a_layernorm",
        ["attn_kv_b"] = "self_attn.kv_b_proj",
        ["attn_k_b"] = "self_attn.k_b_proj",
        ["attn_v_b"] = "self_attn.v_b_proj",
        ["attn_output"] = "self_attn.o_proj",
        ["attn_q_norm"] = "self_attn.q_norm",
        ["attn_k_norm"] = "self_attn.k_norm",
        ["post_attention_norm"] = "post_attention_layernorm",
        ["ffn_norm"] = "post_attention_layernorm",
        ["post_ffw_norm"] = "post_feedforward_layernorm",
        ["ffn_gate"] = "mlp.gate_proj",
        ["ffn_up"] = "mlp.up_proj",
        ["ffn_down"] = "mlp.down_proj",
        ["ffn_gate_inp"] = "mlp.gate",
        ["ffn_gate_exps"] = "mlp.experts.gate_proj",
        ["ffn_up_exps"] = "mlp.experts.up_proj",
        ["ffn_down_exps"] = "mlp.experts.down_proj",
        ["ffn_gate_inp_shexp"] = "mlp.shared_expert_gate",
        ["ffn_gate_shexp"] = "mlp.shared_expert.gate_proj",
        ["ffn_up_shexp"] = "mlp.shared_expert.up_proj",
        ["ffn_down_shexp"] = "mlp.shared_expert.down_proj",
    };

    // Mixtral's names of an expert's three matrices.
    private static readonly Dictionary<string, string> Mixtral = new(StringComparer.Ordinal)
    {
        ["ffn_gate_inp"] = "block_sparse_moe.gate",
        ["ffn_gate_exps"] = "block_sparse_moe.experts.w1",
        ["ffn_down_exps"] = "block_sparse_moe.experts.w2",
        ["ffn_up_exps"] = "block_sparse_moe.experts.w3",
    };

    public static bool Knows(string architecture) => Architectures.Contains(architecture);

    /// <summary>Hugging Face's name of an architecture. A llama file with experts is a Mixtral.</summary>
    public static string ArchitectureToHub(string architecture, bool hasExperts) => (architecture, hasExperts) switch
    {
        ("llama", true) => "mixtral",
        ("qwen2moe", _) => "qwen2_moe",
        ("qwen3moe", _) => "qwen3_moe",
        ("gpt-oss", _) => "gpt_oss",
        ("glm4moe", _) => "glm4_moe",
        ("deepseek2", _) => "deepseek_v2", // V3's router makes it a V3
        ("gptneox", _) => "gpt_neox",
        ("command-r", _) => "cohere",
        _ => architecture,
    };

    /// <summary>The Hugging Face name; a name it does not know stays as it is, so that the loader reports it as unused.</summary>
    public static string ToHub(string architecture, string name)
    {
        int dot = name.LastIndexOf('.');
        if (dot < 0)
            return name;
        string stem = name[..dot], suffix = name[dot..];
        if (Top.TryGetValue(stem, out string? top))
            return top + suffix;
        string[] parts = stem.Split('.');
        if (name.EndsWith(".exp_probs_b.bias", StringComparison.Ordinal) && parts is ["blk", string at, _])
            return $"model.layers.{at}.mlp.gate.e_score_correction_bias";
        if (suffix == ".weight" && parts is ["blk", string sinks, "attn_sinks"])
            return $"model.layers.{sinks}.self_attn.sinks";
        if (architecture is "llama" && parts is ["blk", string block, string matrix, string expert] && Mixtral.TryGetValue(matrix + "_exps", out string? stacked)) // files of early 2024
            return $"model.layers.{block}.block_sparse_moe.experts.{expert}.{stacked[^2..]}{suffix}";
        return parts is ["blk", string layer, string part] && BlockName(architecture, part) is { } inBlock
            ? $"model.layers.{layer}.{inBlock}{suffix}"
            : name;
    }

    public static RowOrder RowOrderOf(string architecture, string name) =>
        InterleavedArchitectures.Contains(architecture) && name.Split('.') is ["blk", _, "attn_q" or "attn_k", _]
            ? RowOrder.InterleavedPairs
            : RowOrder.Plain;

    private static string? BlockName(string architecture, string part) => (architecture, part) switch
    {
        ("gemma2" or "gemma3", "ffn_norm") => "pre_feedforward_layernorm",
        ("phi3", "ffn_up") => "mlp.gate_up_proj",
        ("starcoder2", "ffn_up") => "mlp.c_fc",
        ("starcoder2", "ffn_down") => "mlp.c_proj",
        ("llama", _) when Mixtral.TryGetValue(part, out string? name) => name,
        ("gpt-oss", "ffn_gate_inp") => "mlp.router",
        ("granitemoe", "ffn_gate_inp") => "block_sparse_moe.router.layer",
        ("granitemoe", _) when part.EndsWith("_shexp", StringComparison.Ordinal) => $"shared_mlp.{Block.GetValueOrDefault(part[..^"_shexp".Length])?["mlp.".Length..]}",
        ("glm4moe" or "deepseek2", _) when part.EndsWith("_shexp", StringComparison.Ordinal) => $"mlp.shared_experts.{Block.GetValueOrDefault(part[..^"_shexp".Length])?["mlp.".Length..]}",
        _ => Block.GetValueOrDefault(part),
    };
}
