using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;
using TpServe.Sharding;

namespace TpServe.Model.Layers;

/// <summary>y = Σ_r x_r · W_rᵀ + b: the input features are split over the ranks by leaves; one canonical sum adds the parts.</summary>
/// <remarks>
/// Shapes   x [n, in of this rank], W [out, in of this rank] (null where the rank owns no leaf), b [1, out], y [n, out] for the consumer, who takes its
///          rows as they are finished: the end of a half-block runs while a row is in the cache.
/// Traffic  one SumTree of pieces · n · out elements; one piece where this rank's leaves are a subtree, none where it owns no leaf.
/// Numerics the leaves' partial sums are added in the order of the canonical tree; the bias once, after it: the same bits at every degree.
/// Source   Shoeybi et al. 2019 (Megatron-LM), §3; the order: <see cref="SumTree"/>.
/// </remarks>
public sealed class RowParallelLinear(PackedWeight? weight, Tensor? bias, int outputs, LeafShare share, CollectivePurpose purpose, ITensorBackend ops, ICommunicator comm)
{
    private readonly LeafSum _sum = new(bias, outputs, share, purpose, ops, comm);
    private readonly LoraSumEnd _loraEnd = new(ops);

    /// <summary>This rank's matrix; null where it owns no leaf.</summary>
    public PackedWeight? Weight => weight;

    /// <summary>Hands the whole sum to the consumer, on every rank. Every rank of the group calls it.</summary>
    public void Forward(Tensor x, ISumConsumer consumer, LoraOfLayer lora = default, LoraPlace place = default)
    {
        if (lora.Touches(place))
        {
            long mark = ops.Mark();
            comm.For(purpose);
            Tensor t = lora.Sum(place, x, share, ops, comm);
            ForwardWhole(x, _loraEnd.Begin(lora, place, t, consumer));
            ops.Release(mark);
            return;
        }
        if (BlockRows(x.Rows) is int block and > 0)
        {
            ForwardInBlocks(x, block, consumer);
            return;
        }
        ForwardWhole(x, consumer);
    }

    private void ForwardWhole(Tensor x, ISumConsumer consumer)
    {
        PartialSums sums = Begin(x.Rows);
        if (weight is not null)
            ops.LinearPieces(x, weight, sums.Pieces);
        End(sums, consumer);
    }

    // Apart from Forward, where what is captured would be made for every step.
    private void ForwardInBlocks(Tensor x, int block, ISumConsumer consumer) =>
        ForwardInBlocks(x.Rows, block, consumer, (first, rows, pieces) => ops.LinearPieces(x.RowSlice(first, rows), weight!, pieces));

    /// <summary>As <see cref="LeafSum.BlockRows"/>.</summary>
    public int BlockRows(int rows) => _sum.BlockRows(rows);

    /// <summary>As <see cref="LeafSum.InBlocks"/>.</summary>
    public void ForwardInBlocks(int rows, int block, ISumConsumer consumer, Action<int, int, Tensor> compute) => _sum.InBlocks(rows, block, consumer, compute);

    /// <summary>Room for the partial sums of n rows, for a caller that computes them as part of something larger.</summary>
    public PartialSums Begin(int rows) => _sum.Begin(rows);

    /// <summary>Hands the whole sum of what the caller has computed to the consumer. Every rank of the group calls it, and no collective since Begin.</summary>
    public void End(PartialSums sums, ISumConsumer consumer) => _sum.End(sums, consumer);
}

/// <summary>The canonical sum over leaves that closes a row-parallel product, whoever computes this rank's pieces of it.</summary>
/// <remarks>
/// Shapes   pieces [pieces · n, out] of this rank, none where it owns no leaf; b [1, out]; y [n, out] for the consumer.
/// Traffic  one SumTree of pieces · n · out elements.
/// Numerics the order of the canonical tree; the bias once, after it.
/// </remarks>
public sealed class LeafSum(Tensor? bias, int outputs, LeafShare share, CollectivePurpose purpose, ITensorBackend ops, ICommunicator comm)
{
    private readonly bool _isSummed = comm.Degree == 1 && share.Pieces == 1; // the one piece of a single rank is the sum

    /// <summary>Room for the partial sums of n rows.</summary>
    public PartialSums Begin(int rows)
    {
        Tensor y = ops.Rent(rows, outputs);
        long mark = ops.Mark();
        if (_isSummed)
            return new PartialSums(y, y, mark);
        // Unsummed between maximal subtrees; where the peers can read them.
        return new PartialSums(y, share.Count == 0 ? y.RowSlice(0, 0) : comm.Window(share, rows, outputs) ?? ops.Rent(share.Pieces * rows, outputs), mark);
    }

    /// <summary>Hands the whole sum to the consumer. Every rank of the group calls it, and no collective since Begin.</summary>
    public void End(PartialSums sums, ISumConsumer consumer)
    {
        ArgumentNullException.ThrowIfNull(consumer);
        comm.For(purpose);
        if (!_isSummed && bias is null)
        {
            comm.SumTree(sums.Pieces, share, sums.Output, consumer);
        }
        else
        {
            if (!_isSummed)
                comm.SumTree(sums.Pieces, share, sums.Output);
            if (bias is { } vector)
                ops.AddRow(sums.Output, vector);
            consumer.Take(sums.Output, 0);
        }
        ops.Release(sums.Mark);
    }

    /// <summary>Rows of a block where a product of n rows is computed in blocks, each one's sum beside the next; 0 where it is computed whole. The same on every rank.</summary>
    public int BlockRows(int rows) => bias is null && comm.OverlapRows is int block and > 0 && rows >= 2 * block ? block : 0;

    /// <summary>Hands the whole sum to the consumer, block by block. Every rank of the group calls it.</summary>
    /// <param name="rows">Of the product.</param>
    /// <param name="block">Of a block; the last one takes what is left.</param>
    /// <param name="consumer">Takes the sum's rows.</param>
    /// <param name="compute">Computes the pieces of rows [first, first + rows); not called where the rank owns no leaf.</param>
    public void InBlocks(int rows, int block, ISumConsumer consumer, Action<int, int, Tensor> compute)
    {
        Tensor y = ops.Rent(rows, outputs);
        long mark = ops.Mark();
        comm.For(purpose);
        OverlappedSums sums = new(y, share, share.Count > 0, consumer, ops, comm);
        for (int first = 0, count; first < rows; first += count)
        {
            count = rows - first < 2 * block ? rows - first : block;
            Tensor pieces = sums.Begin(count);
            if (share.Count > 0)
                compute(first, count, pieces);
            sums.Send(pieces, count);
        }
        sums.End();
        ops.Release(mark);
    }
}

/// <summary>A row-parallel product under way.</summary>
/// <param name="Output">Where the sum goes, [n, out], rented.</param>
/// <param name="Pieces">Where this rank's pieces go, [pieces · n, out].</param>
/// <param name="Mark">What is rented since is given back with the sum.</param>
public readonly record struct PartialSums(Tensor Output, Tensor Pieces, long Mark);
