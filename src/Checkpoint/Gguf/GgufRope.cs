using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>Rotary embeddings from GGUF metadata.</summary>
internal static class GgufRope
{
    private const float DefaultTheta = 10000f;

    /// <summary>The rotary embedding, Gemma 3's of sliding layers, and the longest context after scaling.</summary>
    public static (RopeConfig Rope, RopeConfig? Local, int MaxPositions) Read(
        string architecture, GgufMetadata metadata, RopeTensors tensors, int headDim, int context)
    {
        string prefix = $"{architecture}.rope";
        RopeConfig plain = new()
        {
            Theta = metadata.Float($"{prefix}.freq_base", ConfigLimits.Tiny, ConfigLimits.MaxTheta) ?? DefaultTheta,
            RotaryDim = metadata.Int($"{prefix}.dimension_count", 0, ConfigLimits.MaxHeadDim) is { } dim and not 0 ? dim : headDim,
        };
        RopeConfig rope = Scaled(prefix, plain, metadata, tensors, context);
        int maxPositions = rope.Scaling is RopeScaling.Yarn
            ? (int)Math.Clamp(Math.Round((double)rope.OriginalMaxPositions * rope.Factor), context, int.MaxValue)
            : context;
        RopeConfig? local = architecture is "gemma3"
            ? plain with { Theta = metadata.Float($"{prefix}.freq_base_swa", ConfigLimits.Tiny, ConfigLimits.MaxTheta) ?? DefaultTheta }
            : null;
        return (rope, local, maxPositions);
    }

    private static RopeConfig Scaled(string prefix, RopeConfig plain, GgufMetadata metadata, RopeTensors tensors, int context)
    {
        string typeKey = $"{prefix}.scaling.type";
        // scale_linear is the old name of the linear factor. A factor of 0 is how files say "none".
        float given = metadata.Float($"{prefix}.scaling.factor", 0, ConfigLimits.MaxFactor) ?? metadata.Float($"{prefix}.scale_linear", 0, ConfigLimits.MaxFactor) ?? 0;
        float factor = given == 0 ? 1f : given;
        int original = metadata.Int($"{prefix}.scaling.original_context_length", 1, ConfigLimits.MaxSize) ?? context;
        float? attention = metadata.Float($"{prefix}.scaling.attn_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor);
        string type = metadata.String(typeKey) ?? (tensors.Long.Count > 0 ? "longrope" : "linear");
        switch (type)
        {
            case "none" or "linear" when tensors.Factors.Count > 0:
                float divisor = type is "none" ? 1f : factor;
                return plain with { Scaling = RopeScaling.Factors, ShortFactors = [.. tensors.Factors.Select(f => f * divisor)] };
            case "none":
                return plain;
            case "linear":
                return factor == 1f ? plain : plain with { Scaling = RopeScaling.Linear, Factor = factor };
            case "yarn":
                return plain with
                {
                    Scaling = RopeScaling.Yarn,
                    Factor = factor,
                    OriginalMaxPositions = original,
                    YarnTruncate = prefix is not "gpt-oss.rope",
                    BetaFast = metadata.Float($"{prefix}.scaling.yarn_beta_fast", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 32f,
                    BetaSlow = metadata.Float($"{prefix}.scaling.yarn_beta_slow", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 1f,
                    // The file's number multiplies what YaRN derives from the factor.
                    AttentionFactor = prefix is "deepseek2.rope" ? 1f : attention is null or 1f ? null : attention * (1f + (0.1f * MathF.Log(factor))),
                };
            case "longrope":
                return plain with
                {
                    Scaling = RopeScaling.LongRope,
                    Factor = (float)((double)context / original),
                    OriginalMaxPositions = original,
                    AttentionFactor = attention,
                    ShortFactors = tensors.Short,
                    LongFactors = tensors.Long,
                };
            default:
                throw new ModelLoadException($"{metadata.Path}: '{typeKey}' is '{type}'; supported are none, linear, yarn, longrope.");
        }
    }
}
