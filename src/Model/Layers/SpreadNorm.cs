using TpServe.Collectives;
using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>RMSNorm of queries and of keys over all heads of all ranks (OLMo 2): the mean square needs everyone's heads.</summary>
/// <remarks>
/// Shapes   query [n, localHeads · headDim], key [n, localKvHeads · headDim] in place; weights: this rank's slice.
/// Traffic  one SumDisjoint of n · (heads + kvHeads) sums of squares, one a head. A KV head that lives on two ranks is sent by the first of them.
/// Numerics a head's sum is computed where the head lives; the heads' sums are added by the canonical tree: the same bits at every degree.
/// </remarks>
/// <param name="queryWeight">[1, localHeads · headDim]; null where the rank has no heads.</param>
/// <param name="keyWeight">[1, localKvHeads · headDim]; null where the rank has no heads.</param>
/// <param name="zeros">At least as many rows of heads + kvHeads zeros as a step has tokens.</param>
/// <param name="epsilon">Added to the mean square.</param>
/// <param name="heads">Which heads are this rank's.</param>
/// <param name="ops">The rank's device.</param>
/// <param name="comm">The rank's group.</param>
public sealed class SpreadNorm(
    Tensor? queryWeight, Tensor? keyWeight, Tensor zeros, float epsilon, SpreadHeads heads, ITensorBackend ops, ICommunicator comm) : IQueryKeyNorm
{
    /// <inheritdoc/>
    public void Forward(Tensor query, Tensor key)
    {
        int dim = heads.HeadDim;
        long mark = ops.Mark();

        // 1. The sums of squares of this rank's heads, in their columns; +0 for all others.
        Tensor sums = ops.Rent(query.Rows, heads.Heads + heads.KvHeads);
        ops.Copy(zeros.RowSlice(0, query.Rows), sums);
        if (heads.LocalHeads > 0)
            ops.SumSquares(query, dim, sums.ColumnSlice(heads.FirstHead, heads.LocalHeads));
        if (heads.SentKvHeads > 0)
        {
            Tensor sent = key.ColumnSlice((heads.FirstSentKvHead - heads.FirstKvHead) * dim, heads.SentKvHeads * dim);
            ops.SumSquares(sent, dim, sums.ColumnSlice(heads.Heads + heads.FirstSentKvHead, heads.SentKvHeads));
        }

        // 2. Everyone's.
        comm.For(CollectivePurpose.Norms);
        comm.SumDisjoint(sums);

        // 3. Scale this rank's heads.
        if (queryWeight is { } wq && keyWeight is { } wk)
        {
            ops.NormBySums(query, sums.ColumnSlice(0, heads.Heads), heads.Heads * dim, wq, epsilon);
            ops.NormBySums(key, sums.ColumnSlice(heads.Heads, heads.KvHeads), heads.KvHeads * dim, wk, epsilon);
        }
        ops.Release(mark);
    }
}
