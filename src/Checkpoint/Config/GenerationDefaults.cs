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

/// <summary>Sampling defaults and special ids from generation_config.json, with config.json behind it.</summary>
internal static class HubGeneration
{
    public static GenerationDefaults Read(JsonSection config, JsonSection? generation)
    {
        JsonSection?[] sources = [generation, config, config.IsObject("text_config") ? config.Object("text_config") : null];
        return new GenerationDefaults
        {
            // Of all places: the reference reads some of them here and others there.
            EosTokenIds = [.. sources.SelectMany(s => s is null ? [] : Ids(s, "eos_token_id") ?? []).Distinct()],
            BosTokenId = sources.Select(s => s is null ? null : Ids(s, "bos_token_id")).FirstOrDefault(ids => ids is { Count: > 0 })?[0],
            DoSample = generation?.Bool("do_sample"),
            Temperature = generation?.Float("temperature", 0, ConfigLimits.MaxFactor),
            TopP = generation?.Float("top_p", 0, 1),
            TopK = generation?.Int("top_k", -1, int.MaxValue) is { } topK ? Math.Max(0, topK) : null, // -1 and 0 both mean "all tokens"
            MinP = generation?.Float("min_p", 0, 1),
            RepetitionPenalty = generation?.Float("repetition_penalty", ConfigLimits.Tiny, ConfigLimits.MaxFactor),
        };
    }

    // One id or a list of them.
    private static IReadOnlyList<int>? Ids(JsonSection json, string key) => json.IsArray(key)
        ? [.. json.Ints(key, 0, int.MaxValue)!.Distinct()]
        : json.Int(key, 0, int.MaxValue) is { } id ? [id] : null;
}
