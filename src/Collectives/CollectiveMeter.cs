using System.Diagnostics;

namespace TpServe.Collectives;

/// <summary>What an operation of the ranks is for.</summary>
public enum CollectivePurpose
{
    /// <summary>Nobody has said.</summary>
    Other = 0,

    /// <summary>The sum that closes attention.</summary>
    Attention = 1,

    /// <summary>The sum that closes the MLP.</summary>
    Mlp = 2,

    /// <summary>The embeddings of a step's tokens.</summary>
    Embedding = 3,

    /// <summary>Sums of squares of a norm over all ranks' heads.</summary>
    Norms = 4,

    /// <summary>Each rank's best tokens, on their way to the sampler.</summary>
    Candidates = 5,

    /// <summary>Whole rows of logits, on their way to the sampler.</summary>
    Logits = 6,

    /// <summary>The chosen tokens, on their way to all ranks.</summary>
    Choices = 7,
}

/// <summary>Counts operations, their bytes and their time by what they were for.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
public sealed class CollectiveMeter
{
    /// <summary>How many purposes there are.</summary>
    private const int Purposes = (int)CollectivePurpose.Choices + 1;

    private readonly CollectiveCount[] _counts = new CollectiveCount[Purposes];

    /// <summary>By <see cref="CollectivePurpose"/>.</summary>
    public ReadOnlySpan<CollectiveCount> Counts => _counts;

    /// <summary>What has been counted for a purpose.</summary>
    public CollectiveCount this[CollectivePurpose purpose] => _counts[(int)purpose];

    /// <summary>One more operation.</summary>
    public void Add(CollectivePurpose purpose, Traffic sent, TimeSpan elapsed)
    {
        ref CollectiveCount count = ref _counts[(int)purpose];
        count = new CollectiveCount(count.Calls + 1, count.Sent + sent, count.Elapsed + elapsed);
    }

    /// <summary>Counts from zero.</summary>
    public void Clear() => Array.Clear(_counts);
}

/// <summary>What operations of one purpose came to.</summary>
/// <param name="Calls">How many there were.</param>
/// <param name="Sent">What the rank sent in them.</param>
/// <param name="Elapsed">What they took, waiting included.</param>
public readonly record struct CollectiveCount(long Calls, Traffic Sent, TimeSpan Elapsed);
