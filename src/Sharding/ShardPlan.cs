using System.Globalization;
using System.Text;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding;

/// <summary>What one rank owns of a model: heads, KV heads, MLP leaves, vocabulary rows, and with them the slice of every matrix.</summary>
/// <remarks>The one place that knows that column-parallel slices axis 0 and row-parallel axis 1 of a matrix stored as [out, in].</remarks>
public sealed class ShardPlan
{
    private readonly ModelConfig _config;

    /// <summary>The plan of <paramref name="rank"/>.</summary>
    /// <exception cref="ShardingException">The partition does not fit the model.</exception>
    public ShardPlan(ModelConfig config, Partition partition, int rank)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(partition);
        partition.CheckAgainst(config);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, partition.Degree);
        _config = config;
        Partition = partition;
        Rank = rank;
        HeadShare = new LeafShare(Leaves.OfHeads(config), partition.HeadBoundaries, rank);
        MlpShare = new LeafShare(Leaves.OfMlp(config), partition.LeafBoundaries, rank);
        DenseShare = config.Experts is null ? MlpShare : new LeafShare(Leaves.OfDense(config), DenseBoundaries(config, partition), rank);
        SharedBoundaries = SharedLeaves(config, MlpShare);
        FirstVocab = partition.VocabBoundaries[rank];
        LocalVocab = partition.VocabBoundaries[rank + 1] - FirstVocab;
        (FirstKvHead, LocalKvHeads) = KvHeadsOf(rank);

        int groupSize = config.Heads / config.KvHeads;
        int[] kvHeadOfHead = new int[LocalHeads];
        for (int head = 0; head < LocalHeads; head++)
            kvHeadOfHead[head] = (FirstHead + head) / groupSize - FirstKvHead;
        KvHeadOfHead = kvHeadOfHead;
    }

    /// <summary>The whole group's partition.</summary>
    public Partition Partition { get; }

    /// <summary>Whose plan it is.</summary>
    public int Rank { get; }

    /// <summary>Number of ranks.</summary>
    public int Degree => Partition.Degree;

    /// <summary>The attention output projection's leaves: one for each query head.</summary>
    public LeafShare HeadShare { get; }

    /// <summary>The leaves of the MLP's down projection, or of each expert's where there are mixtures.</summary>
    public LeafShare MlpShare { get; }

    /// <summary>The leaves of the down projection of layers that are no mixture: of the same part of the whole, where experts are what is split.</summary>
    public LeafShare DenseShare { get; }

    /// <summary>Columns at which the owned leaves of the MLP beside the experts begin, and where the last one ends; of one number where the rank owns none.</summary>
    public IReadOnlyList<int> SharedBoundaries { get; }

    /// <summary>First query head.</summary>
    public int FirstHead => HeadShare.First;

    /// <summary>Query heads; may be 0 at degrees beyond the head count.</summary>
    public int LocalHeads => HeadShare.Count;

    /// <summary>First KV head.</summary>
    public int FirstKvHead { get; }

    /// <summary>KV heads that this rank's query heads read; one whose group is cut lives on both neighbours.</summary>
    public int LocalKvHeads { get; }

    /// <summary>For each local query head, its KV head counted from <see cref="FirstKvHead"/>.</summary>
    public IReadOnlyList<int> KvHeadOfHead { get; }

    /// <summary>The lowest rank that holds a KV head: where values of a duplicated head count once.</summary>
    public bool OwnsKvHeadFirst(int kvHead) => Rank == 0 || !Enumerable.Range(0, Rank).Any(r =>
    {
        (int first, int count) = KvHeadsOf(r);
        return kvHead >= first && kvHead < first + count;
    });

    /// <summary>First MLP column, of each expert where there are mixtures.</summary>
    public int FirstIntermediate => MlpShare.Boundaries[0];

    /// <summary>MLP columns.</summary>
    public int LocalIntermediate => MlpShare.Columns;

    /// <summary>First vocabulary row.</summary>
    public int FirstVocab { get; }

    /// <summary>Vocabulary rows.</summary>
    public int LocalVocab { get; }

    /// <summary>The part of a matrix of the given role that this rank holds.</summary>
    public WeightSlice Slice(WeightRole role)
    {
        int dim = _config.HeadDim, hidden = _config.Hidden;
        return role switch
        {
            WeightRole.Embedding or WeightRole.Head => new WeightSlice(FirstVocab, LocalVocab, 0, hidden),
            WeightRole.Query => new WeightSlice(FirstHead * _config.QueryDim, LocalHeads * _config.QueryDim, 0, _config.Latent is { QueryRank: > 0 and int rank } ? rank : hidden),
            WeightRole.LatentHeads => new WeightSlice(FirstHead * _config.Latent!.KeyValueDim, LocalHeads * _config.Latent.KeyValueDim, 0, _config.Latent.KvRank),
            WeightRole.Key or WeightRole.Value => new WeightSlice(FirstKvHead * dim, LocalKvHeads * dim, 0, hidden),
            WeightRole.Gate or WeightRole.Up => new WeightSlice(DenseShare.Boundaries[0], DenseShare.Columns, 0, hidden),
            WeightRole.ExpertGate or WeightRole.ExpertUp => new WeightSlice(FirstIntermediate, LocalIntermediate, 0, hidden),
            WeightRole.SharedGate or WeightRole.SharedUp => new WeightSlice(SharedBoundaries[0], SharedBoundaries[^1] - SharedBoundaries[0], 0, hidden),
            WeightRole.AttentionOutput => new WeightSlice(0, hidden, FirstHead * _config.ValueDim, LocalHeads * _config.ValueDim),
            WeightRole.Down => new WeightSlice(0, hidden, DenseShare.Boundaries[0], DenseShare.Columns),
            WeightRole.ExpertDown => new WeightSlice(0, hidden, FirstIntermediate, LocalIntermediate),
            WeightRole.SharedDown => new WeightSlice(0, hidden, SharedBoundaries[0], SharedBoundaries[^1] - SharedBoundaries[0]),
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "a replicated tensor has no slice"),
        };
    }

    /// <summary>One line for people: what this rank owns.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"rank {Rank}: heads {Range(FirstHead, LocalHeads)} of {_config.Heads}, ");
        text.Append(CultureInfo.InvariantCulture, $"kv heads {Range(FirstKvHead, LocalKvHeads)} of {_config.KvHeads}, ");
        if (_config.Experts is { } experts)
            text.Append(CultureInfo.InvariantCulture, $"columns {Range(FirstIntermediate, LocalIntermediate)} of {experts.Intermediate} of each of {experts.Count} experts, ");
        else
            text.Append(CultureInfo.InvariantCulture, $"mlp {Range(FirstIntermediate, LocalIntermediate)} of {_config.Intermediate}, ");
        text.Append(CultureInfo.InvariantCulture, $"vocabulary {Range(FirstVocab, LocalVocab)} of {_config.Vocab}");
        return text.ToString();

        static string Range(int first, int count) => count == 0 ? "none" : FormattableString.Invariant($"{first}..{first + count - 1}");
    }

    /// <summary>Where an expert's boundaries fall in an MLP of another number of leaves: each at the nearest leaf.</summary>
    private static int[] DenseBoundaries(ModelConfig config, Partition partition)
    {
        long dense = Leaves.OfDense(config).Count, split = Leaves.OfMlp(config).Count;
        return [.. partition.LeafBoundaries.Select(boundary => (int)(((boundary * dense) + (split / 2)) / split))];
    }

    private static int[] SharedLeaves(ModelConfig config, LeafShare share)
    {
        Leaves leaves = Leaves.OfShared(config);
        int first = Math.Min(share.First, leaves.Count), end = Math.Min(share.End, leaves.Count);
        return [.. Enumerable.Range(first, end - first + 1).Select(leaves.Start)];
    }

    private (int First, int Count) KvHeadsOf(int rank)
    {
        int first = Partition.HeadBoundaries[rank], end = Partition.HeadBoundaries[rank + 1];
        int groupSize = _config.Heads / _config.KvHeads;
        return first == end ? (Math.Min(first / groupSize, _config.KvHeads), 0) : (first / groupSize, (end - 1) / groupSize - first / groupSize + 1);
    }
}

/// <summary>The part of a matrix [out, in] that a rank holds.</summary>
/// <param name="FirstRow">First output feature.</param>
/// <param name="Rows">Output features.</param>
/// <param name="FirstColumn">First input feature.</param>
/// <param name="Columns">Input features.</param>
public readonly record struct WeightSlice(int FirstRow, int Rows, int FirstColumn, int Columns)
{
    /// <summary>Elements held.</summary>
    public long Elements => (long)Rows * Columns;
}

/// <summary>What a weight matrix does in the model; decides along which axis it is split.</summary>
public enum WeightRole
{
    /// <summary>Vocabulary rows, split by vocabulary.</summary>
    Embedding,

    /// <summary>Query projection, column-parallel by query heads.</summary>
    Query,

    /// <summary>Key projection, column-parallel by the KV heads the query heads need.</summary>
    Key,

    /// <summary>Value projection, split as the keys.</summary>
    Value,

    /// <summary>What makes each head's keys and values of the latent row, split by query heads.</summary>
    LatentHeads,

    /// <summary>Attention output projection, row-parallel by query heads.</summary>
    AttentionOutput,

    /// <summary>Gate projection, column-parallel by MLP leaves.</summary>
    Gate,

    /// <summary>Up projection, column-parallel by MLP leaves.</summary>
    Up,

    /// <summary>Down projection, row-parallel by MLP leaves.</summary>
    Down,

    /// <summary>Gate projection of one expert, or of all, column-parallel by an expert's leaves.</summary>
    ExpertGate,

    /// <summary>Up projection of experts, split as their gates.</summary>
    ExpertUp,

    /// <summary>Down projection of experts, row-parallel by an expert's leaves.</summary>
    ExpertDown,

    /// <summary>Gate projection of the MLP beside the experts.</summary>
    SharedGate,

    /// <summary>Up projection of the MLP beside the experts.</summary>
    SharedUp,

    /// <summary>Down projection of the MLP beside the experts.</summary>
    SharedDown,

    /// <summary>Language-model head, column-parallel by vocabulary.</summary>
    Head,

    /// <summary>Whole on every rank: norms over the residual stream, biases added after a sum.</summary>
    Replicated,
}
