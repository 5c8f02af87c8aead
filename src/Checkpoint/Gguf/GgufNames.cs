namespace TpServe.Checkpoint.Gguf;

/// <summary>Hugging Face names of GGUF tensors, for the architectures TpServe knows.</summary>
/// <remarks>Source  the tensor name tables of the gguf Python package.</remarks>
internal static class GgufNames
{
    /// <summary>Tensors that become part of the configuration and not of the weights.</summary>
    public const string RopeFrequencies = "rope_freqs.weight", RopeShort = "rope_factors_short.weight", RopeLong = "rope_factors_long.weight";

    private static readonly string[] Architectures = ["llama", "qwen2", "qwen3", "smollm3", "olmo2", "granite", "phi3", "gemma2", "gemma3"];

    // The converters of these architectures reorder query and key rows for the rotary embedding of neighbouring pairs.
    private static readonly string[] InterleavedArchitectures = ["llama", "granite", "smollm3"];

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
        ["attn_output"] = "self_attn.o_proj",
        ["attn_q_norm"] = "self_attn.q_norm",
        ["attn_k_norm"] = "self_attn.k_norm",
        ["post_attention_norm"] = "post_attention_layernorm",
        ["ffn_norm"] = "post_attention_layernorm",
        ["post_ffw_norm"] = "post_feedforward_layernorm",
        ["ffn_gate"] = "mlp.gate_proj",
        ["ffn_up"] = "mlp.up_proj",
        ["ffn_down"] = "mlp.down_proj",
    };

    public static bool Knows(string architecture) => Architectures.Contains(architecture);

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
        _ => Block.GetValueOrDefault(part),
    };
}
