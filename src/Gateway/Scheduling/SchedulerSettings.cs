namespace TpServe.Gateway.Scheduling;

/// <summary>The scheduler's limits; all at least 1.</summary>
/// <param name="MaxStepTokens">Most tokens in one step, decode rows and prefill together.</param>
/// <param name="ChunkTokens">Most prompt tokens of one sequence in one step.</param>
/// <param name="MaxSequences">Most sequences that run at once; no more than MaxStepTokens, so that each has a row in every step.</param>
/// <param name="QueueLimit">Waiting sequences at which requests are refused.</param>
public sealed record SchedulerSettings(int MaxStepTokens, int ChunkTokens, int MaxSequences, int QueueLimit);
