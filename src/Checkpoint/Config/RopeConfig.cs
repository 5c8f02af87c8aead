namespace TpServe.Checkpoint.Config;

/// <summary>How the frequencies of the rotary embedding are scaled.</summary>
public enum RopeScaling
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>Positions divided by the factor.</summary>
    Linear,

    /// <summary>Llama 3.1: low frequencies divided, high kept, a ramp between.</summary>
    Llama3,

    /// <summary>YaRN, Peng et al. 2023.</summary>
    Yarn,

    /// <summary>Phi-3's LongRoPE: one factor for each pair.</summary>
    LongRope,

    /// <summary>Factors stored in the file, one for each pair (rope_freqs.weight of GGUF): frequencies divided by them.</summary>
    Factors,
}

/// <summary>Rotary embedding of one kind of layer.</summary>
public sealed record RopeConfig
{
    /// <summary>Base of the frequencies.</summary>
    public required float Theta { get; init; }

    /// <summary>Leading elements of a head that are rotated; even.</summary>
    public required int RotaryDim { get; init; }

    /// <summary>Scaling of the frequencies; the fields below are read only by the kinds that name them.</summary>
    public RopeScaling Scaling { get; init; }

    /// <summary>Linear, Llama3, Yarn: the factor. LongRope: longest context / OriginalMaxPositions.</summary>
    public float Factor { get; init; } = 1f;

    /// <summary>Llama3: low_freq_factor.</summary>
    public float LowFrequencyFactor { get; init; } = 1f;

    /// <summary>Llama3: high_freq_factor.</summary>
    public float HighFrequencyFactor { get; init; } = 4f;

    /// <summary>Llama3, Yarn, LongRope: original_max_position_embeddings, in tokens.</summary>
    public int OriginalMaxPositions { get; init; }

    /// <summary>Yarn: beta_fast.</summary>
    public float BetaFast { get; init; } = 32f;

    /// <summary>Yarn: beta_slow.</summary>
    public float BetaSlow { get; init; } = 1f;

    /// <summary>Yarn: whether the ramp's ends are rounded to whole pairs.</summary>
    public bool YarnTruncate { get; init; } = true;

    /// <summary>Yarn, LongRope: factor on cos and sin; null = derived from the factor as the reference does.</summary>
    public float? AttentionFactor { get; init; }

    /// <summary>Yarn: mscale; 0 = absent.</summary>
    public float Mscale { get; init; }

    /// <summary>Yarn: mscale_all_dim; 0 = absent.</summary>
    public float MscaleAllDim { get; init; }

    /// <summary>LongRope: factors up to OriginalMaxPositions; Factors: the file's.</summary>
    public IReadOnlyList<float> ShortFactors { get; init; } = [];

    /// <summary>LongRope: factors beyond OriginalMaxPositions.</summary>
    public IReadOnlyList<float> LongFactors { get; init; } = [];
}
