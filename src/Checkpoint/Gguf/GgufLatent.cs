using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>LatentConfig from GGUF metadata of the architecture deepseek2, which is V2's and V3's.</summary>
/// <remarks>
/// Newer files have keys and values in absorbed form: then key_length is a row of the cache, and the heads' own sizes end in _mla.
/// Source   llama.cpp's converter and its graph of deepseek2.
/// </remarks>
internal static class GgufLatent
{
    private const string Architecture = "deepseek2";

    /// <summary>The latent attention; null for other architectures.</summary>
    public static LatentConfig? Read(string architecture, GgufMetadata metadata)
    {
        if (architecture is not Architecture)
            return null;
        string prefix = $"{architecture}.attention";
        int rope = metadata.RequiredInt($"{architecture}.rope.dimension_count", 2, ConfigLimits.MaxHeadDim);
        string keyName = metadata.Int($"{prefix}.key_length_mla", 1, ConfigLimits.MaxHeadDim) is null ? "key_length" : "key_length_mla";
        string valueName = metadata.Int($"{prefix}.value_length_mla", 1, ConfigLimits.MaxHeadDim) is null ? "value_length" : "value_length_mla";
        int key = metadata.RequiredInt($"{prefix}.{keyName}", 1, ConfigLimits.MaxHeadDim);
        return new LatentConfig
        {
            QueryRank = metadata.Int($"{prefix}.q_lora_rank", 0, ConfigLimits.MaxHeadDim) ?? 0,
            KvRank = metadata.RequiredInt($"{prefix}.kv_lora_rank", 1, ConfigLimits.MaxHeadDim),
            PlainDim = key > rope ? key - rope : throw new ModelLoadException($"{metadata.Path}: '{prefix}.{keyName}' is {key}; it must be above the {rope} elements that are rotated."),
            RopeDim = rope,
            ValueDim = metadata.RequiredInt($"{prefix}.{valueName}", 1, ConfigLimits.MaxHeadDim),
        };
    }

    /// <summary>The factor on scores. The file's logarithmic factor is 0.1 · mscale_all_dim.</summary>
    public static float Scale(LatentConfig latent, GgufMetadata metadata, RopeConfig rope)
    {
        float multiplier = metadata.Float($"{Architecture}.rope.scaling.yarn_log_multiplier", 0, ConfigLimits.MaxFactor) ?? 0f;
        return latent.Scale(rope is { Scaling: RopeScaling.Yarn, Factor: > 1f } ? 1 + (multiplier * Math.Log(rope.Factor)) : 1);
    }
}
