namespace TpServe.Checkpoint.Config;

/// <summary>Rotary embeddings from config.json, in the old style (rope_theta and rope_scaling) and the new (rope_parameters).</summary>
/// <remarks>Source  transformers, modeling_rope_utils.</remarks>
internal static class HubRope
{
    private const float Gemma3LocalTheta = 10000f;

    /// <summary>The rotary embedding, and that of sliding layers where it differs.</summary>
    public static (RopeConfig Rope, RopeConfig? Local) Read(JsonSection json, HubFamily family, int headDim, int maxPositions)
    {
        JsonSection? parameters = json.Object("rope_parameters");
        bool perLayerType = parameters?.IsObject("full_attention") ?? false;
        JsonSection? full = perLayerType ? parameters!.Object("full_attention") : parameters ?? json.Object("rope_scaling");
        float theta = full?.Float("rope_theta", ConfigLimits.Tiny, ConfigLimits.MaxTheta)
            ?? json.Float("rope_theta", ConfigLimits.Tiny, ConfigLimits.MaxTheta)
            ?? (family.Name is "gpt_neox" ? json.Float("rotary_emb_base", ConfigLimits.Tiny, ConfigLimits.MaxTheta) : null)
            ?? family.Theta;
        RopeConfig rope = One(json, full, family, theta, headDim, maxPositions);
        if (family.Name is not "gemma3")
            return (rope, null);

        JsonSection? sliding = perLayerType ? parameters!.Object("sliding_attention") : null;
        float localTheta = sliding?.Float("rope_theta", ConfigLimits.Tiny, ConfigLimits.MaxTheta)
            ?? json.Float("rope_local_base_freq", ConfigLimits.Tiny, ConfigLimits.MaxTheta)
            ?? Gemma3LocalTheta;
        return (rope, One(json, sliding, family, localTheta, headDim, maxPositions));
    }

    /// <summary>The longest context after scaling: YaRN's may be stated for the unscaled model.</summary>
    public static int Extended(RopeConfig rope, int maxPositions) => rope.Scaling is RopeScaling.Yarn
        ? (int)Math.Clamp(Math.Round((double)rope.OriginalMaxPositions * rope.Factor), maxPositions, int.MaxValue)
        : maxPositions;

    private static RopeConfig One(JsonSection json, JsonSection? scaling, HubFamily family, float theta, int headDim, int maxPositions)
    {
        float partial = scaling?.Float("partial_rotary_factor", ConfigLimits.Tiny, 1) ?? json.Float("partial_rotary_factor", ConfigLimits.Tiny, 1)
            ?? (family.Name is "gpt_neox" ? json.Float("rotary_pct", ConfigLimits.Tiny, 1) : null) ?? family.PartialRotary;
        RopeConfig plain = new() { Theta = theta, RotaryDim = (int)(headDim * partial) };
        if (scaling is null && family.Name is "gpt_oss")
            return plain with { Scaling = RopeScaling.Yarn, Factor = 32f, OriginalMaxPositions = 4096, YarnTruncate = false };
        string type = scaling?.String("rope_type") ?? scaling?.String("type") ?? "default";
        if (family.Name is "phi3" && type is ("su" or "yarn"))
            type = "longrope"; // names that early Phi-3 files use for it
        switch (type)
        {
            case "default":
                return plain;
            case "linear":
                return plain with { Scaling = RopeScaling.Linear, Factor = Factor(scaling!) };
            case "llama3":
                return plain with
                {
                    Scaling = RopeScaling.Llama3,
                    Factor = Factor(scaling!),
                    LowFrequencyFactor = scaling!.RequiredFloat("low_freq_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor),
                    HighFrequencyFactor = scaling.RequiredFloat("high_freq_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor),
                    OriginalMaxPositions = Original(json, scaling) ?? maxPositions,
                };
            case "yarn":
                return Yarn(json, scaling!, plain, maxPositions);
            case "longrope":
                return LongRope(json, scaling!, plain, maxPositions);
            default:
                throw scaling!.Fault("rope_type", $"is '{type}'; supported are default, linear, llama3, yarn, longrope");
        }
    }

    private static RopeConfig Yarn(JsonSection json, JsonSection scaling, RopeConfig plain, int maxPositions)
    {
        return plain with
        {
            Scaling = RopeScaling.Yarn,
            Factor = Factor(scaling),
            OriginalMaxPositions = Original(json, scaling) ?? maxPositions,
            BetaFast = Optional("beta_fast") ?? 32f,
            BetaSlow = Optional("beta_slow") ?? 1f,
            YarnTruncate = scaling.Bool("truncate") ?? true,
            AttentionFactor = Optional("attention_factor"),
            Mscale = Optional("mscale") ?? 0f,
            MscaleAllDim = Optional("mscale_all_dim") ?? 0f,
        };

        // 0 counts as absent there.
        float? Optional(string key) => scaling.Float(key, 0, ConfigLimits.MaxFactor) is { } value and not 0 ? value : null;
    }

    private static RopeConfig LongRope(JsonSection json, JsonSection scaling, RopeConfig plain, int maxPositions)
    {
        int? trained = json.Int("original_max_position_embeddings", 1, ConfigLimits.MaxSize) ?? scaling.Int("original_max_position_embeddings", 1, ConfigLimits.MaxSize);
        return plain with
        {
            Scaling = RopeScaling.LongRope,
            Factor = trained is { } original ? (float)((double)maxPositions / original) : scaling.Float("factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? 1f,
            OriginalMaxPositions = trained ?? maxPositions,
            AttentionFactor = scaling.Float("attention_factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor),
            ShortFactors = Factors("short_factor"),
            LongFactors = Factors("long_factor"),
        };

        IReadOnlyList<float> Factors(string key) => scaling.Floats(key, ConfigLimits.Tiny, ConfigLimits.MaxFactor) ?? throw scaling.Missing(key);
    }

    private static float Factor(JsonSection scaling) => scaling.RequiredFloat("factor", ConfigLimits.Tiny, ConfigLimits.MaxFactor);

    private static int? Original(JsonSection json, JsonSection scaling) =>
        scaling.Int("original_max_position_embeddings", 1, ConfigLimits.MaxSize) ?? json.Int("original_max_position_embeddings", 1, ConfigLimits.MaxSize);
}
