namespace TpServe.Gateway.Workers;

/// <summary>One rank: who it is, what it owns, how it does.</summary>
public sealed record RankFacts
{
    /// <summary>0-based; rank 0 samples.</summary>
    public required int Rank { get; init; }

    /// <summary>Where the gateway reaches it.</summary>
    public required string Address { get; init; }

    /// <summary>Process id on its host.</summary>
    public int Pid { get; init; }

    /// <summary>Device in words.</summary>
    public string Device { get; init; } = "";

    /// <summary>Instruction set path in use.</summary>
    public string Isa { get; init; } = "";

    /// <summary>Compute backend in words.</summary>
    public string Backend { get; init; } = "";

    /// <summary>Transport of collectives.</summary>
    public string Transport { get; init; } = "";

    /// <summary>Why that transport.</summary>
    public string TransportReason { get; init; } = "";

    /// <summary>Median of one small all-reduce at start; 0 with one rank.</summary>
    public double AllReduceMicroseconds { get; init; }

    /// <summary>What the path to each peer cost when it was proved; empty where the transport does not time its paths one by one.</summary>
    public IReadOnlyList<PathFacts> Paths { get; init; } = [];

    /// <summary>Query heads it owns.</summary>
    public Range Heads { get; init; }

    /// <summary>Key-value heads it holds; those at its ends may live on a neighbour too.</summary>
    public Range KvHeads { get; init; }

    /// <summary>MLP leaves it owns.</summary>
    public Range MlpLeaves { get; init; }

    /// <summary>Vocabulary rows it owns.</summary>
    public Range VocabRows { get; init; }

    /// <summary>Bytes of its weights.</summary>
    public long WeightBytes { get; init; }

    /// <summary>Bytes of its KV cache.</summary>
    public long KvBytes { get; init; }

    /// <summary>Seconds its last load took.</summary>
    public double LoadSeconds { get; init; }

    /// <summary>Last step: time in arithmetic.</summary>
    public int ComputeMicroseconds { get; init; }

    /// <summary>Last step: time in collectives, waiting included. The rank that waits least is the slowest.</summary>
    public int CollectiveMicroseconds { get; init; }

    /// <summary>Last step: whole.</summary>
    public int StepMicroseconds { get; init; }
}
