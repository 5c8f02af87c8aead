using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>down(f(up(x))): an MLP without a gate.</summary>
/// <remarks>
/// Shapes   x [n, hidden], its output [n, hidden] goes to the consumer, both the same on every rank.
/// Traffic  one SumTree of n · hidden in the down projection.
/// Numerics up's bias is added where its columns live, down's once after the canonical sum: the same bits at every degree.
/// Source   Vaswani et al. 2017, §3.3; GeLU: Hendrycks and Gimpel 2016.
/// </remarks>
public sealed class PlainMlp(ColumnParallelLinear upProj, PlainActivation activation, RowParallelLinear downProj, ITensorBackend ops) : IMlp
{
    /// <inheritdoc/>
    public void Forward(Tensor x, ISumConsumer consumer, LoraOfLayer lora = default)
    {
        Tensor up = upProj.Forward(x, lora, LoraPlace.GateUp);
        if (up.Columns > 0) // else no MLP column on this rank: it still takes part in the sum
            ops.Activate(up, activation);
        downProj.Forward(up, consumer, lora, LoraPlace.Down); // SumTree in downProj
    }
}
