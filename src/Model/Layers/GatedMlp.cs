using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>down(act(gate(x)) · up(x)). gate and up are one merged product.</summary>
/// <remarks>
/// Shapes   x [n, hidden], y [n, hidden] rented, both the same on every rank.
/// Traffic  one SumTree of n · hidden in the down projection.
/// Source   Shazeer 2020.
/// </remarks>
public sealed class GatedMlp(MergedColumnParallelLinear gateUpProj, Activation activation, RowParallelLinear downProj, ITensorBackend ops)
{
    /// <summary>The MLP's output. Every rank of the group calls it.</summary>
    public Tensor Forward(Tensor x)
    {
        if (!gateUpProj.Product.HasBias && downProj.Weight is { } down)
        {
            PartialSums sums = downProj.Begin(x.Rows);
            ops.GatedPieces(x, gateUpProj.Product.Parts, activation, down, sums.Pieces);
            return downProj.End(sums);
        }
        Tensor gateUp = gateUpProj.Forward(x);
        if (gateUp.Columns == 0) // no MLP column on this rank: it still takes part in the sum
            return downProj.Forward(gateUp);
        Tensor activated = ops.Rent(x.Rows, gateUp.Columns / 2);
        ops.GatedActivation(gateUp, activation, activated);
        return downProj.Forward(activated); // SumTree in downProj
    }
}
