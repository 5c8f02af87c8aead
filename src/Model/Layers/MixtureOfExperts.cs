using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>Σ_e w_e · down_e(act(gate_e(x)) · up_e(x)) over the experts that a row's router chooses, and over one that all rows go through where there is such.</summary>
/// <remarks>
/// Every expert is split over the ranks as an MLP is, by leaves of its columns, so each rank computes its part of every chosen expert and one sum closes the block.
/// The router is whole on every rank, and rows are the same there, so all choose alike.
/// Shapes   x [n, hidden], logits [n, experts], ids and weights [n, chosen]; its output [n, hidden] goes to the consumer, all the same on every rank.
/// Traffic  one SumTree of n · hidden, as of a dense MLP.
/// Numerics router in float32, ties to the lower id. In each leaf: experts in ascending id, the shared one last, each product of a leaf times its weight
///          (<see cref="ITensorBackend.ExpertPieces"/>); leaves by the canonical tree. The same bits at every degree, in every batch.
/// Source   Shazeer et al. 2017; Jiang et al. 2024 (Mixtral); shared experts: Dai et al. 2024 (DeepSeekMoE).
/// Oracle   the reference backend's loops; goldens of transformers.
/// </remarks>
/// <param name="router">x to logits; with a row for the shared expert's gate where it has one.</param>
/// <param name="correction">Added to the scores for the choice, [1, experts]; null = nothing.</param>
/// <param name="shape">How experts are chosen.</param>
/// <param name="experts">This rank's part of them; null where it owns no leaf.</param>
/// <param name="sum">What closes the block.</param>
/// <param name="ops">The rank's device.</param>
public sealed class MixtureOfExperts(ColumnParallelLinear router, Tensor? correction, RouterShape shape, ExpertMlp? experts, LeafSum sum, ITensorBackend ops) : IMlp
{
    /// <inheritdoc/>
    public void Forward(Tensor x, ISumConsumer consumer, LoraOfLayer lora = default)
    {
        PartialSums sums = sum.Begin(x.Rows);
        if (experts is not null) // else no column of any expert is here: it still takes part in the sum
        {
            Tensor logits = router.Forward(x);
            Tensor ids = ops.Rent(x.Rows, shape.Chosen, ElementType.Int32), weights = ops.Rent(x.Rows, shape.Chosen);
            ops.Route(logits, correction, shape, ids, weights);
            ops.ExpertPieces(x, ids, weights, experts, sums.Pieces);
        }
        sum.End(sums, consumer);
    }
}
