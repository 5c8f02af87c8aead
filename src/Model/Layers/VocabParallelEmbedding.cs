using TpServe.Collectives;
using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>x = scale · E[token]: each rank holds a range of the vocabulary's rows.</summary>
/// <remarks>
/// Shapes   tokenIds [n, 1], table [localVocab, hidden] with the rows from firstRow on, x [n, hidden] rented, whole on every rank.
/// Traffic  one SumDisjoint of n · hidden elements: one rank has the row, all others +0, so the sum is exact.
/// </remarks>
public sealed class VocabParallelEmbedding(PackedWeight table, int firstRow, int hidden, float scale, ITensorBackend ops, ICommunicator comm)
{
    /// <summary>The embeddings of the step's tokens. Every rank of the group calls it.</summary>
    public Tensor Forward(Tensor tokenIds)
    {
        Tensor x = ops.Rent(tokenIds.Rows, hidden);
        ops.Embed(tokenIds, table, firstRow, scale, x);
        comm.For(CollectivePurpose.Embedding);
        comm.SumDisjoint(x);
        return x;
    }
}

/// <summary>logits = cap · tanh(x · Wᵀ / (divisor · cap)) for this rank's range of the vocabulary; without a cap x · Wᵀ / divisor.</summary>
/// <remarks>
/// Shapes   x [m, hidden], W [localVocab, hidden] (the embedding's own matrix where the model ties them), logits [m, localVocab] rented.
/// Traffic  none: what of the logits travels is for the sampler to say.
/// </remarks>
public sealed class ParallelLmHead(ColumnParallelLinear head, float divisor, float softcap, ITensorBackend ops)
{
    /// <summary>Vocabulary rows on this rank.</summary>
    public int LocalVocab => head.LocalOutputs;

    /// <summary>This rank's logits; m × 0 where it owns no row of the vocabulary.</summary>
    public Tensor Forward(Tensor x)
    {
        Tensor logits = head.Forward(x);
        if (logits.Columns == 0)
            return logits;
        if (divisor != 1f)
            ops.Scale(logits, 1f / divisor);
        if (softcap != 0f)
            ops.Softcap(logits, softcap);
        return logits;
    }
}
