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
        comm.SumDisjoint(x);
        return x;
    }
}
