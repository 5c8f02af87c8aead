using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>RMSNorm of each head of queries and keys by itself (Qwen 3, Gemma 3).</summary>
/// <remarks>Shapes   query [n, localHeads · headDim], key [n, localKvHeads · headDim] in place; weights [1, headDim], the same for every head and rank.</remarks>
public sealed class HeadNorm(Tensor queryWeight, Tensor keyWeight, float epsilon, ITensorBackend ops) : IQueryKeyNorm
{
    /// <inheritdoc/>
    public void Forward(Tensor query, Tensor key)
    {
        if (query.Columns == 0)
            return;
        ops.RmsNorm(query, queryWeight, epsilon, query);
        ops.RmsNorm(key, keyWeight, epsilon, key);
    }
}
