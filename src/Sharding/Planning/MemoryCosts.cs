using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Bytes that a rank holds, by what it owns: weights, KV cache, scratch.</summary>
/// <remarks>Scratch is what a step of the largest size rents at once; both halves of a block are counted, though one gives its rows back before the other begins.</remarks>
/// <param name="Model">The model.</param>
/// <param name="KvTokens">Tokens whose keys and values must have room.</param>
/// <param name="StepRows">Rows of the largest step.</param>
/// <param name="Samples">Most rows of the head in a step.</param>
internal sealed record MemoryCosts(ModelCosts Model, long KvTokens, int StepRows, int Samples)
{
    private ModelConfig Config => Model.Config;

    /// <summary>Keys and values of one token of one KV head, over all layers.</summary>
    public double KvTokenBytes => (double)Config.Layers * Model.KvHeadBytes;

    /// <summary>On every rank.</summary>
    public double Always => Model.ReplicatedBytes + ScratchSizes.Of(Config, 0, 0, 0, 0, StepRows, Samples);

    public double Heads(int heads, int kvHeads) =>
        (heads * Model.QueryHead.Stored) + (kvHeads * (Model.KvHead.Stored + (KvTokens * KvTokenBytes))) + ScratchSizes.Heads(Config, heads + kvHeads, StepRows);

    public double Columns(int columns) => columns * (Model.Column.Stored + ScratchSizes.Column(Config, StepRows));

    public double VocabRows(int rows) => rows * (Model.VocabRow.Stored + ScratchSizes.Row(Samples));

    public double Weights(RankShare share) => Model.ReplicatedBytes + (share.Heads * Model.QueryHead.Stored) + (share.KvHeads * Model.KvHead.Stored)
        + (share.Columns * Model.Column.Stored) + (share.Rows * Model.VocabRow.Stored);

    public double Total(RankShare share) => Always + Heads(share.Heads, share.KvHeads) + Columns(share.Columns) + VocabRows(share.Rows);

    public double Kv(RankShare share) => share.KvHeads * KvTokens * KvTokenBytes;
}

/// <summary>Bytes of the activations of a step on one rank, by what it owns.</summary>
public static class ScratchSizes
{
    // Rows of the residual stream's width that live together: the stream, its norm, a sum and its pieces.
    private const int StreamRows = 6;

    /// <summary>All of them.</summary>
    /// <param name="config">The model.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="kvHeads">KV heads.</param>
    /// <param name="columns">MLP columns.</param>
    /// <param name="vocabRows">Vocabulary rows.</param>
    /// <param name="stepRows">Rows of the step.</param>
    /// <param name="samples">Rows of it that go through the head.</param>
    public static double Of(ModelConfig config, int heads, int kvHeads, int columns, int vocabRows, int stepRows, int samples)
    {
        ArgumentNullException.ThrowIfNull(config);
        return (4.0 * StreamRows * stepRows * config.Hidden) + Heads(config, heads + kvHeads, stepRows) + (columns * Column(config, stepRows)) + (vocabRows * Row(samples));
    }

    internal static double Heads(ModelConfig config, int heads, int stepRows) => stepRows * heads * (config.Latent is { } latent ? 4.0 * (latent.QueryDim + latent.RowDim + latent.KvRank + latent.ValueDim) : 8.0 * config.HeadDim);

    internal static double Column(ModelConfig config, int stepRows) => 8.0 * stepRows * (config.Experts is { } experts ? experts.PerToken + ((double)experts.SharedIntermediate / experts.Intermediate) : 1);

    internal static double Row(int samples) => 4.0 * samples;
}
