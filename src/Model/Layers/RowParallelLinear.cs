using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Sharding;

namespace TpServe.Model.Layers;

/// <summary>y = Σ_r x_r · W_rᵀ + b: the input features are split over the ranks by leaves; one canonical sum adds the parts.</summary>
/// <remarks>
/// Shapes   x [n, in of this rank], W [out, in of this rank] (null where the rank owns no leaf), b [1, out], y [n, out] rented.
/// Traffic  one SumTree of pieces · n · out elements; one piece where this rank's leaves are a subtree, none where it owns no leaf.
/// Numerics the leaves' partial sums are added in the order of the canonical tree; the bias once, after it: the same bits at every degree.
/// Source   Shoeybi et al. 2019 (Megatron-LM), §3; the order: <see cref="SumTree"/>.
/// </remarks>
public sealed class RowParallelLinear(PackedWeight? weight, Tensor? bias, int outputs, LeafShare share, ITensorBackend ops, ICommunicator comm)
{
    /// <summary>This rank's matrix; null where it owns no leaf.</summary>
    public PackedWeight? Weight => weight;

    /// <summary>The whole sum, on every rank. Every rank of the group calls it.</summary>
    public Tensor Forward(Tensor x)
    {
        PartialSums sums = Begin(x.Rows);
        if (weight is not null)
            ops.LinearPieces(x, weight, sums.Pieces);
        return End(sums);
    }

    /// <summary>Room for the partial sums of n rows, for a caller that computes them as part of something larger.</summary>
    public PartialSums Begin(int rows)
    {
        Tensor y = ops.Rent(rows, outputs);
        long mark = ops.Mark();
        if (comm.Degree == 1 && weight is { Leaves.Pieces: 1 })
            return new PartialSums(y, y, mark); // the one piece of a single rank is the sum
        return new PartialSums(y, weight is null ? y.RowSlice(0, 0) : ops.Rent(share.Pieces * rows, outputs), mark); // unsummed between maximal subtrees
    }

    /// <summary>The whole sum of what the caller has computed. Every rank of the group calls it.</summary>
    public Tensor End(PartialSums sums)
    {
        if (comm.Degree > 1 || weight is not { Leaves.Pieces: 1 })
            comm.SumTree(sums.Pieces, share, sums.Output);
        ops.Release(sums.Mark);
        AddBias(sums.Output);
        return sums.Output;
    }

    private void AddBias(Tensor y)
    {
        if (bias is { } vector)
            ops.AddRow(y, vector);
    }
}

/// <summary>A row-parallel product under way.</summary>
/// <param name="Output">Where the sum goes, [n, out].</param>
/// <param name="Pieces">Where this rank's pieces go, [pieces · n, out].</param>
/// <param name="Mark">What is rented since is given back with the sum.</param>
public readonly record struct PartialSums(Tensor Output, Tensor Pieces, long Mark);
