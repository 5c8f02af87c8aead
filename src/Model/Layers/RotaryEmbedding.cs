using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>Turns each pair (i, i + rotary/2) of a head by position · frequency_i.</summary>
/// <remarks>
/// Shapes   query [n, localHeads · headDim], key [n, localKvHeads · headDim] in place; table as <see cref="RotaryTable"/> computes it.
/// Source   Su et al. 2021, in the half-split form of the Hugging Face checkpoints.
/// </remarks>
public sealed class RotaryEmbedding(Tensor table, int headDim, ITensorBackend ops)
{
    /// <summary>Rotates both in place and stores keys and values; tableRows [n, 1] names each token's row of the table.</summary>
    public void ForwardAndStore(Tensor query, Tensor key, Tensor value, Tensor tableRows, Tensor slots, KvLayer cache) =>
        ops.RopeStoreKv(query, key, value, tableRows, table, headDim, slots, cache);
}
