using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Adapters;

namespace TpServe.Model.Layers;

/// <summary>The first half of a block.</summary>
public interface IAttention
{
    /// <summary>Stores what the step's tokens leave in the layer's cache and attends to it. Every rank of the group calls it.</summary>
    void Forward(Tensor x, StepContext step, KvLayer? cache, ISumConsumer consumer, LoraOfLayer lora);
}

/// <summary>Causal self-attention of this rank's heads over the paged cache, closed by the output projection.</summary>
/// <remarks>
/// Shapes   x [n, hidden], its output [n, hidden] goes to the consumer, both the same on every rank.
/// Traffic  one SumTree of n · hidden in the output projection; one SumDisjoint before it where the norm of q and k spans all heads.
/// Source   Vaswani et al. 2017, §3.2; grouped KV heads: Ainslie et al. 2023.
/// </remarks>
public sealed class Attention(
    QkvParallelLinear qkvProj, IQueryKeyNorm? norm, RotaryEmbedding? rotary, AttentionShape shape, RowParallelLinear outputProj, ITensorBackend ops) : IAttention
{
    /// <inheritdoc/>
    public void Forward(Tensor x, StepContext step, KvLayer? cache, ISumConsumer consumer, LoraOfLayer lora)
    {
        (Tensor q, Tensor k, Tensor v) = qkvProj.Forward(x, lora);
        norm?.Forward(q, k);
        if (cache is null) // a rank beyond the number of query heads: it still takes part in the sums
        {
            outputProj.Forward(q, consumer, lora, LoraPlace.AttentionOutput);
            return;
        }

        if (rotary is null)
            ops.StoreKv(k, v, step.Tensors.Slots, cache);
        else
            rotary.ForwardAndStore(q, k, v, step.RotaryRows, step.Tensors.Slots, cache);
        Tensor heads = ops.Rent(x.Rows, q.Columns);
        ops.Attention(q, cache, step.Tensors, shape, heads);
        outputProj.Forward(heads, consumer, lora, LoraPlace.AttentionOutput); // SumTree in outputProj
    }
}
