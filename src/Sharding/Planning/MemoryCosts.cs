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
    // Rows of the residual stream's width that live together: the stream, its norm, a sum and its pieces.
    private const int StreamRows = 6;

    private ModelConfig Config => Model.Config;

    /// <summary>Keys and values of one token of one KV head, over all layers.</summary>
    public double KvTokenBytes => (double)Config.Layers * Model.KvHeadBytes;

    /// <summary>On every rank.</summary>
    public double Always => Model.ReplicatedBytes + (4.0 * StreamRows * StepRows * Config.Hidden);

    public double Heads(int heads, int kvHeads) =>
        (heads * Model.QueryHead.Stored) + (kvHeads * (Model.KvHead.Stored + (KvTokens * KvTokenBytes))) + (8.0 * StepRows * Config.HeadDim * (heads + kvHeads));

    public double Columns(int columns) => columns * (Model.Column.Stored + (8.0 * StepRows));

    public double VocabRows(int rows) => rows * (Model.VocabRow.Stored + (4.0 * Samples));

    public double Weights(RankShare share) => Model.ReplicatedBytes + (share.Heads * Model.QueryHead.Stored) + (share.KvHeads * Model.KvHead.Stored)
        + (share.Columns * Model.Column.Stored) + (share.Rows * Model.VocabRow.Stored);

    public double Total(RankShare share) => Always + Heads(share.Heads, share.KvHeads) + Columns(share.Columns) + VocabRows(share.Rows);

    public double Kv(RankShare share) => share.KvHeads * KvTokens * KvTokenBytes;
}
