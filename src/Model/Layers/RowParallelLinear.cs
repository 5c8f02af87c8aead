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
    /// <summary>The whole sum, on every rank. Every rank of the group calls it.</summary>
    public Tensor Forward(Tensor x)
    {
        Tensor y = ops.Rent(x.Rows, outputs);
        if (comm.Degree == 1 && weight is { Leaves.Pieces: 1 })
        {
            ops.LinearPieces(x, weight, y); // the one piece of a single rank is the sum
            AddBias(y);
            return y;
        }
        long mark = ops.Mark();
        Tensor pieces = y.RowSlice(0, 0);
        if (weight is not null)
        {
            pieces = ops.Rent(share.Pieces * x.Rows, outputs); // unsummed between maximal subtrees
            ops.LinearPieces(x, weight, pieces);
        }
        comm.SumTree(pieces, share, y);
        ops.Release(mark);
        AddBias(y);
        return y;
    }

    private void AddBias(Tensor y)
    {
        if (bias is { } vector)
            ops.AddRow(y, vector);
    }
}
