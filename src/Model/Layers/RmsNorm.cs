using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>y = x / sqrt(mean(x²) + ε) · w over the residual stream.</summary>
/// <remarks>
/// Shapes   x, y [n, hidden], w [1, hidden]; the same on every rank, so nothing is exchanged.
/// Source   Zhang and Sennrich 2019, eq. 4. Where a family stores w − 1 (Gemma), the loader has added the 1.
/// </remarks>
public sealed class RmsNorm(Tensor weight, float epsilon, ITensorBackend ops) : IRowNorm
{
    /// <summary>y ← norm(x).</summary>
    public void Into(Tensor x, Tensor y) => ops.RmsNorm(x, weight, epsilon, y);

    /// <summary>x ← norm(x).</summary>
    public void InPlace(Tensor x) => ops.RmsNorm(x, weight, epsilon, x);

    /// <summary>x ← x + scale · y, then normed ← norm(x), in one operation.</summary>
    public void AfterAdding(Tensor x, Tensor y, float scale, Tensor normed) => ops.AddNorm(x, y, scale, weight, epsilon, normed);
}

/// <summary>The normalisation of queries and keys between projection and rotary embedding.</summary>
public interface IQueryKeyNorm
{
    /// <summary>Normalises both in place. Every rank of the group calls it, also one without heads (n × 0 tensors).</summary>
    void Forward(Tensor query, Tensor key);
}

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
