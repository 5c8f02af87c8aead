using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>The half of a block that works on each row by itself.</summary>
public interface IMlp
{
    /// <summary>Hands the output of rows x [n, hidden] to the consumer. Every rank of the group calls it.</summary>
    void Forward(Tensor x, ISumConsumer consumer, LoraOfLayer lora = default);
}

/// <summary>down(act(gate(x)) · up(x)). gate and up are one merged product.</summary>
/// <remarks>
/// Shapes   x [n, hidden], its output [n, hidden] goes to the consumer, both the same on every rank.
/// Traffic  one SumTree of n · hidden in the down projection.
/// Source   Shazeer 2020.
/// </remarks>
public sealed class GatedMlp(MergedColumnParallelLinear gateUpProj, Activation activation, RowParallelLinear downProj, ITensorBackend ops) : IMlp
{
    /// <summary>Hands the MLP's output to the consumer. Every rank of the group calls it.</summary>
    public void Forward(Tensor x, ISumConsumer consumer, LoraOfLayer lora = default)
    {
        bool isChanged = lora.Touches(LoraPlace.GateUp) || lora.Touches(LoraPlace.Down); // then what lies between the products is needed; the bits of each row stay
        if (!isChanged && !gateUpProj.Product.HasBias && downProj.Weight is { } down)
        {
            if (downProj.BlockRows(x.Rows) is int block and > 0)
            {
                ForwardInBlocks(x, block, down, consumer);
                return;
            }
            PartialSums sums = downProj.Begin(x.Rows);
            ops.GatedPieces(x, gateUpProj.Product.Parts, activation, down, sums.Pieces);
            downProj.End(sums, consumer);
            return;
        }
        Tensor gateUp = gateUpProj.Forward(x, lora);
        if (gateUp.Columns == 0) // no MLP column on this rank: it still takes part in the sum
        {
            downProj.Forward(gateUp, consumer, lora, LoraPlace.Down);
            return;
        }
        Tensor activated = ops.Rent(x.Rows, gateUp.Columns / 2);
        ops.GatedActivation(gateUp, activation, activated);
        downProj.Forward(activated, consumer, lora, LoraPlace.Down); // SumTree in downProj
    }

    // Apart from Forward, where what is captured would be made for every step.
    private void ForwardInBlocks(Tensor x, int block, PackedWeight down, ISumConsumer consumer) => downProj.ForwardInBlocks(
        x.Rows, block, consumer, (first, rows, pieces) => ops.GatedPieces(x.RowSlice(first, rows), gateUpProj.Product.Parts, activation, down, pieces));
}
