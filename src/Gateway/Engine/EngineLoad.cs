namespace TpServe.Gateway.Engine;

/// <summary>Counts at one moment. Block counts are 0 while no group is ready.</summary>
public sealed record EngineLoad
{
    /// <summary>Sequences in the running batch.</summary>
    public required int RunningSequences { get; init; }

    /// <summary>Sequences in the queue.</summary>
    public required int WaitingSequences { get; init; }

    /// <summary>KV blocks that sequences own.</summary>
    public required int UsedBlocks { get; init; }

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

    /// <summary>New requests are refused.</summary>
    public required bool Draining { get; init; }
}
