namespace TpServe.Model.Sampling;

/// <summary>How the next token of a sequence is chosen. Resolved: every field holds the value to use.</summary>
/// <remarks>Order   penalties, logit bias, allowed and suppressed ids, temperature, top-k, top-p, min-p.</remarks>
public sealed record SamplingSettings
{
    /// <summary>Below this the temperature counts as 0: the division would overflow, and the likeliest token is certain anyway.</summary>
    public const float LeastTemperature = 1e-5f;

    /// <summary>The likeliest token, always.</summary>
    public static SamplingSettings Greedy { get; } = new();

    /// <summary>Logits are divided by it; 0 = greedy.</summary>
    public float Temperature { get; init; }

    /// <summary>Only the k likeliest tokens; 0 = off.</summary>
    public int TopK { get; init; }

    /// <summary>Only the likeliest tokens that together have at least this probability; 1 = off.</summary>
    public float TopP { get; init; } = 1f;

    /// <summary>Only tokens at least this likely relative to the likeliest; 0 = off.</summary>
    public float MinP { get; init; }

    /// <summary>Key of the random numbers.</summary>
    public ulong Seed { get; init; }

    /// <summary>Which output of the request: enters the random counter.</summary>
    public int OutputIndex { get; init; }

    /// <summary>Subtracted from the logits of tokens generated before; 0 = off.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Subtracted from a logit for each time the token was generated before; 0 = off.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens in prompt and output; 1 = off. Source: Keskar et al. 2019, §4.1.</summary>
    public float RepetitionPenalty { get; init; } = 1f;

    /// <summary>Added to the logits of these ids.</summary>
    public IReadOnlyList<KeyValuePair<int, float>> LogitBias { get; init; } = [];

    /// <summary>Where not empty, every other id is excluded.</summary>
    public IReadOnlyList<int> AllowedTokenIds { get; init; } = [];

    /// <summary>Ids excluded while fewer than <see cref="MinTokens"/> have been generated.</summary>
    public IReadOnlyList<int> EndTokenIds { get; init; } = [];

    /// <summary>Tokens to generate before any of <see cref="EndTokenIds"/> may be chosen.</summary>
    public int MinTokens { get; init; }

    /// <summary>True where the likeliest token is chosen.</summary>
    public bool IsGreedy => Temperature < LeastTemperature;

    /// <summary>True where some logit is changed before temperature and filters, given how many tokens have been generated.</summary>
    public bool AdjustsLogits(int generated) =>
        PresencePenalty != 0f || FrequencyPenalty != 0f || RepetitionPenalty != 1f || LogitBias.Count > 0 || AllowedTokenIds.Count > 0
        || EndTokenIds.Count > 0 && generated < MinTokens;
}
