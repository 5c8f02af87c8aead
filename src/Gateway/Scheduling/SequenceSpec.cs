using TpServe.Protos.Worker;

namespace TpServe.Gateway.Scheduling;

/// <summary>What is to be computed for one sequence.</summary>
public sealed record SequenceSpec
{
    /// <summary>Token ids of the prompt; at least one.</summary>
    public required IReadOnlyList<int> Prompt { get; init; }

    /// <summary>Most tokens to generate; 0 = only the prompt is computed.</summary>
    public required int MaxNewTokens { get; init; }

    /// <summary>Resolved sampling; prompt_tokens is filled in by <see cref="Sequence"/>.</summary>
    public required SamplingParameters Sampling { get; init; }

    /// <summary>Ids that end the sequence. (Before min_tokens the sampler excludes them, so the scheduler need not ask.)</summary>
    public IReadOnlySet<int> EndTokens { get; init; } = new HashSet<int>();

    /// <summary>Likeliest tokens reported with each sampled token; -1 = not even its own logprob.</summary>
    public int TopLogprobs { get; init; } = -1;

    /// <summary>The same for each prompt token; -1 = none.</summary>
    public int PromptLogprobs { get; init; } = -1;
}
