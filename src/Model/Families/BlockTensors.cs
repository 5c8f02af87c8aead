namespace TpServe.Model.Families;

/// <summary>Names of a block's modules below "model.layers.N."; a weight is NAME.weight, a bias NAME.bias. null = the family has none.</summary>
public sealed record BlockTensors
{
    /// <summary>RMSNorm before attention.</summary>
    public string? AttentionInputNorm { get; init; } = "input_layernorm";

    /// <summary>RMSNorm on the attention's output.</summary>
    public string? AttentionOutputNorm { get; init; }

    /// <summary>RMSNorm before the MLP.</summary>
    public string? MlpInputNorm { get; init; } = "post_attention_layernorm";

    /// <summary>RMSNorm on the MLP's output.</summary>
    public string? MlpOutputNorm { get; init; }

    /// <summary>Query, key and value projection in one matrix, rows in this order; null = the three that follow.</summary>
    public string? FusedQkv { get; init; }

    /// <summary>Query projection.</summary>
    public string Query { get; init; } = "self_attn.q_proj";

    /// <summary>Key projection.</summary>
    public string Key { get; init; } = "self_attn.k_proj";

    /// <summary>Value projection.</summary>
    public string Value { get; init; } = "self_attn.v_proj";

    /// <summary>Latent attention: to the row that queries are made of, its norm, and from there to queries.</summary>
    public (string Down, string Norm, string Up) LatentQuery { get; init; } = ("self_attn.q_a_proj", "self_attn.q_a_layernorm", "self_attn.q_b_proj");

    /// <summary>Latent attention: to the latent row and the rotated key, the row's norm, and from there to keys and values of all heads.</summary>
    public (string Down, string Norm, string Up) LatentRow { get; init; } = ("self_attn.kv_a_proj_with_mqa", "self_attn.kv_a_layernorm", "self_attn.kv_b_proj");

    /// <summary>Latent attention of newer GGUF files: keys, each head's turned, and values as two tensors of a matrix for each head.</summary>
    public (string Keys, string Values) LatentHeads { get; init; } = ("self_attn.k_b_proj", "self_attn.v_b_proj");

    /// <summary>Norm of the queries, where the family has one.</summary>
    public string QueryNorm { get; init; } = "self_attn.q_norm";

    /// <summary>Norm of the keys, where the family has one.</summary>
    public string KeyNorm { get; init; } = "self_attn.k_norm";

    /// <summary>A logit of each query head, where the family has them; the tensor's whole name.</summary>
    public string Sinks { get; init; } = "self_attn.sinks";

    /// <summary>Attention output projection.</summary>
    public string AttentionOutput { get; init; } = "self_attn.o_proj";

    /// <summary>Gate and up projection in one matrix, rows in this order; null = the two that follow.</summary>
    public string? FusedGateUp { get; init; }

    /// <summary>Gate projection.</summary>
    public string Gate { get; init; } = "mlp.gate_proj";

    /// <summary>Up projection.</summary>
    public string Up { get; init; } = "mlp.up_proj";

    /// <summary>Down projection.</summary>
    public string Down { get; init; } = "mlp.down_proj";
}
