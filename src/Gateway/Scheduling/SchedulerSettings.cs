namespace TpServe.Gateway.Scheduling;

/// <summary>The scheduler's limits; all at least 1.</summary>
/// <param name="MaxStepTokens">Most tokens in one step, decode rows and prefill together.</param>
/// <param name="ChunkTokens">Most tokens of one sequence in one step.</param>
/// <param name="MaxSequences">Most sequences that run at once; no more than MaxStepTokens, so that each has a row in every step.</param>
/// <param name="QueueLimit">Waiting sequences at which requests are refused.</param>
public sealed record SchedulerSettings(int MaxStepTokens, int ChunkTokens, int MaxSequences, int QueueLimit)
{
    /// <summary>Waiting prompt tokens at which requests are refused.</summary>
    public long QueueTokens { get; init; } = long.MaxValue;

    /// <summary>Sequences look for their prefix among the blocks of others.</summary>
    public bool PrefixCache { get; init; } = true;

    /// <summary>LongRoPE: a sequence of more tokens than this is rotated by other factors from its first token on. 0 = the model has no such border.</summary>
    public int LongRopeBeyond { get; init; }

    /// <summary>The model that guesses ahead; null = there is none.</summary>
    public DraftSettings? Draft { get; init; }
}

/// <summary>The draft model as the scheduler knows it.</summary>
/// <param name="MaxTokens">Longest sequence that it computes.</param>
/// <param name="Guesses">Most tokens that it guesses in a step for one sequence; at least 1.</param>
public sealed record DraftSettings(int MaxTokens, int Guesses);
