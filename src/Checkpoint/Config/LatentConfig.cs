namespace TpServe.Checkpoint.Config;

/// <summary>Multi-head latent attention: keys and values of all heads are products of one latent row a token, beside which stands one rotated key.</summary>
/// <remarks>Source  DeepSeek-AI 2024 (DeepSeek-V2), §2.1.</remarks>
public sealed record LatentConfig
{
    /// <summary>Width of the row that queries are projected from; 0 = from the residual stream.</summary>
    public required int QueryRank { get; init; }

    /// <summary>Width of the latent row.</summary>
    public required int KvRank { get; init; }

    /// <summary>Elements of a query or key head that are not rotated.</summary>
    public required int PlainDim { get; init; }

    /// <summary>Elements that are rotated, of each query head and of the key that all heads share.</summary>
    public required int RopeDim { get; init; }

    /// <summary>Elements of a value head.</summary>
    public required int ValueDim { get; init; }

    /// <summary>True where a rotary pair is two neighbours in the file; else (i, i + RopeDim / 2).</summary>
    public bool NeighboursRotate { get; init; } = true;

    /// <summary>Elements of a query head.</summary>
    public int QueryDim => PlainDim + RopeDim;

    /// <summary>Elements of a token's row in the cache.</summary>
    public int RowDim => KvRank + RopeDim;

    /// <summary>Rows of the matrix that makes keys and values of the latent row, for each head: its keys, then its values.</summary>
    public int KeyValueDim => PlainDim + ValueDim;

    /// <summary>Factor on the scores: 1/√QueryDim, and YaRN's magnitude twice.</summary>
    internal float Scale(double magnitude) => (float)(magnitude * magnitude / Math.Sqrt(QueryDim));
}

/// <summary>LatentConfig from a config.json of Hugging Face.</summary>
/// <remarks>Source  the configuration and modelling code of transformers and of DeepSeek's repositories.</remarks>
internal static class HubLatent
{
    private const int DefaultQueryRank = 1536, DefaultKvRank = 512, DefaultDim = 128, DefaultRopeDim = 64;

    /// <summary>The latent attention of DeepSeek V2 and V3; null for other families.</summary>
    public static LatentConfig? Read(JsonSection json, HubFamily family)
    {
        if (family.Name is not ("deepseek_v2" or "deepseek_v3"))
            return null;
        if (json.Bool("attention_bias") is true)
            throw json.Fault("attention_bias", "is true; latent attention is served without biases");
        return new LatentConfig
        {
            QueryRank = json.IsNull("q_lora_rank") ? 0 : json.Int("q_lora_rank", 1, ConfigLimits.MaxHeadDim) ?? DefaultQueryRank,
            KvRank = json.Int("kv_lora_rank", 1, ConfigLimits.MaxHeadDim) ?? DefaultKvRank,
            PlainDim = json.Int("qk_nope_head_dim", 1, ConfigLimits.MaxHeadDim) ?? DefaultDim,
            RopeDim = json.Int("qk_rope_head_dim", 2, ConfigLimits.MaxHeadDim) ?? DefaultRopeDim,
            ValueDim = json.Int("v_head_dim", 1, ConfigLimits.MaxHeadDim) ?? DefaultDim,
            NeighboursRotate = family.Name is "deepseek_v2" || (json.Bool("rope_interleave") ?? true),
        };
    }

    /// <summary>The factor on scores.</summary>
    public static float Scale(LatentConfig latent, RopeConfig rope) =>
        latent.Scale(rope is { Scaling: RopeScaling.Yarn, MscaleAllDim: not 0f, Factor: > 1f } ? (0.1 * rope.MscaleAllDim * Math.Log(rope.Factor)) + 1 : 1);
}
