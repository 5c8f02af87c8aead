using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Sharding;
using TpServe.Tokenization;

namespace TpServe.Gateway.Workers;

/// <summary>The draft model's files as a plan needs them: opened, and checked against the model that it is to guess for.</summary>
/// <param name="checkpoint">The files; disposed with this.</param>
internal sealed class DraftSource(ModelCheckpoint checkpoint) : IDisposable
{
    /// <summary>The model.</summary>
    public ModelCheckpoint Checkpoint => checkpoint;

    /// <summary>What a plan takes of it.</summary>
    public DraftFacts Facts => new(checkpoint.Path, checkpoint.Config, shard => GpuMemory.WeightBytes(checkpoint, shard));

    /// <summary>Opens it; null where the settings name none.</summary>
    /// <param name="path">A GGUF file or a Hugging Face folder; empty = none.</param>
    /// <param name="target">The model that is served.</param>
    /// <exception cref="ModelLoadException">It cannot be opened, its architecture is not supported, or its tokens are others; names both files.</exception>
    public static DraftSource? Open(string path, ModelCheckpoint target)
    {
        if (path.Length == 0)
            return null;
        ModelCheckpoint? opened = null;
        try
        {
            opened = ModelCheckpoints.Open(path);
            KnownArchitectures.Require(opened.Config.Architecture);
            if (Difference(Tokenizer.Create(target.Tokenizer), Tokenizer.Create(opened.Tokenizer)) is { } difference)
                throw new ModelLoadException($"the tokenizers differ: {difference}");
            return new DraftSource(opened);
        }
        catch (Exception fault) when (fault is ModelLoadException or TokenizerException or IOException or UnauthorizedAccessException)
        {
            opened?.Dispose();
            throw new ModelLoadException($"--draft {path} cannot guess for {target.Path}: {fault.Message}", fault);
        }
    }

    /// <summary>Where two tokenizers first differ, in words; null where they do not.</summary>
    /// <remarks>One may have more tokens than the other, behind those of both: a token that the draft does not know it never guesses, and one it knows alone is never right.</remarks>
    public static string? Difference(Tokenizer target, Tokenizer draft)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(draft);
        for (int id = 0; id < Math.Min(target.VocabularySize, draft.VocabularySize); id++)
        {
            if (target.TokenText(id) != draft.TokenText(id))
                return $"token {id} is {Shown(target.TokenText(id))} in the model and {Shown(draft.TokenText(id))} in the draft.";
            if (target.IsSpecial(id) != draft.IsSpecial(id))
                return $"token {id}, {Shown(target.TokenText(id))}, is special in the {(target.IsSpecial(id) ? "model" : "draft")} alone.";
        }
        return target.BosTokenId == draft.BosTokenId ? null : $"texts begin with token {Shown(target.BosTokenId)} in the model and {Shown(draft.BosTokenId)} in the draft.";
    }

    /// <inheritdoc/>
    public void Dispose() => checkpoint.Dispose();

    private static string Shown(string? text) => text is null ? "none" : $"'{text}'";

    private static string Shown(int? id) => id?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "none";
}

/// <summary>What a plan takes of the draft model.</summary>
/// <param name="Path">Where it lies.</param>
/// <param name="Config">Architecture and sizes.</param>
/// <param name="WeightBytes">Bytes of a shard's weights.</param>
public sealed record DraftFacts(string Path, ModelConfig Config, Func<ShardPlan, long> WeightBytes);

/// <summary>Who owns what of the draft model. Pure data.</summary>
/// <param name="Config">Architecture and sizes.</param>
/// <param name="Partition">Boundaries of heads, leaves and vocabulary.</param>
/// <param name="Shards">Each rank's plan, by rank.</param>
/// <param name="MaxModelLen">Longest context that it computes, in tokens.</param>
public sealed record DraftPlan(ModelConfig Config, Partition Partition, IReadOnlyList<ShardPlan> Shards, int MaxModelLen)
{
    /// <summary>Splits it over as many ranks as the model that it guesses for, in the same proportions.</summary>
    /// <param name="draft">The model.</param>
    /// <param name="degree">Ranks.</param>
    /// <param name="weights">One for each rank; null = even.</param>
    /// <exception cref="ShardingException">It cannot be split so; names it.</exception>
    public static DraftPlan Create(DraftFacts draft, int degree, IReadOnlyList<double>? weights)
    {
        ArgumentNullException.ThrowIfNull(draft);
        try
        {
            Partition partition = weights is null ? Partition.Even(draft.Config, degree) : Partition.Weighted(draft.Config, weights);
            return new DraftPlan(draft.Config, partition, [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(draft.Config, partition, rank))], draft.Config.MaxPositions);
        }
        catch (ShardingException fault)
        {
            throw new ShardingException($"--draft {draft.Path}: {fault.Message}");
        }
    }
}
