namespace TpServe.Gateway.Engine;

/// <summary>Counts at one moment. Block counts are 0 while no group is ready.</summary>
public sealed record EngineLoad
{
    /// <summary>Sequences in the running batch.</summary>
    public required int RunningSequences { get; init; }

    /// <summary>Sequences in the queue.</summary>
    public required int WaitingSequences { get; init; }

    /// <summary>Tokens that the sequences in the queue have to compute.</summary>
    public required long WaitingTokens { get; init; }

    /// <summary>KV blocks that sequences hold.</summary>
    public required int UsedBlocks { get; init; }

    /// <summary>KV blocks that nobody holds and whose content later sequences may find.</summary>
    public required int CachedBlocks { get; init; }

    /// <summary>KV blocks in all.</summary>
    public required int TotalBlocks { get; init; }

    /// <summary>Tokens in a KV block.</summary>
    public required int BlockTokens { get; init; }

    /// <summary>Steps run since start.</summary>
    public required long Steps { get; init; }

    /// <summary>Tokens sampled since start.</summary>
    public required long GeneratedTokens { get; init; }

    /// <summary>Prompt tokens computed since start.</summary>
    public required long PromptTokens { get; init; }

    /// <summary>How often a sequence gave its blocks up to a more urgent or an earlier one, since start.</summary>
    public required long Preemptions { get; init; }

    /// <summary>Times the group was lost and requests went on after it, since start.</summary>
    public required long Recoveries { get; init; }

    /// <summary>Tokens that were looked up in the prefix cache, and found there, since start.</summary>
    public required (long Asked, long Found) CacheTokens { get; init; }

    /// <summary>Tokens guessed ahead, and those of them that were right, since start.</summary>
    public required (long Guessed, long Right) DraftTokens { get; init; }

    /// <summary>New requests are refused.</summary>
    public required bool Draining { get; init; }
}
