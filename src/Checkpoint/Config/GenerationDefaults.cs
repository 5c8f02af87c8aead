namespace TpServe.Checkpoint.Config;

/// <summary>The model's own sampling defaults (generation_config.json) and special ids; null = the file does not say.</summary>
public sealed record GenerationDefaults
{
    /// <summary>Ids that end a sequence; empty = none known.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];

    /// <summary>Id that begins a sequence.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>do_sample; false makes greedy the default.</summary>
    public bool? DoSample { get; init; }

    public float? Temperature { get; init; }

    public float? TopP { get; init; }

    public int? TopK { get; init; }

    public float? MinP { get; init; }

    public float? RepetitionPenalty { get; init; }
}
