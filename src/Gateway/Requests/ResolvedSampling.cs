namespace TpServe.Gateway.Requests;

/// <summary>How tokens are chosen: every value in force. Meaning and ranges: SamplingOptions of the proto.</summary>
public sealed record ResolvedSampling
{
    /// <summary>0 = greedy.</summary>
    public required float Temperature { get; init; }

    /// <summary>1 = off.</summary>
    public required float TopP { get; init; }

    /// <summary>0 = off.</summary>
    public required int TopK { get; init; }

    /// <summary>0 = off.</summary>
    public required float MinP { get; init; }

    /// <summary>0 = off.</summary>
    public required float PresencePenalty { get; init; }

    /// <summary>0 = off.</summary>
    public required float FrequencyPenalty { get; init; }

    /// <summary>1 = off.</summary>
    public required float RepetitionPenalty { get; init; }

    /// <summary>As the request gave it, else chosen.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Added to the logits of these ids.</summary>
    public IReadOnlyDictionary<int, float> LogitBias { get; init; } = new Dictionary<int, float>();

    /// <summary>Where not empty, every other id is excluded.</summary>
    public IReadOnlyList<int> AllowedTokenIds { get; init; } = [];
}
