using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>A norm over the residual stream, the same on every rank.</summary>
public interface IRowNorm
{
    /// <summary>y ← norm(x).</summary>
    void Into(Tensor x, Tensor y);

    /// <summary>x ← norm(x).</summary>
    void InPlace(Tensor x);

    /// <summary>x ← x + scale · y, then normed ← norm(x).</summary>
    void AfterAdding(Tensor x, Tensor y, float scale, Tensor normed);
}

/// <summary>y = (x − mean(x)) / sqrt(variance(x) + ε) · w + b over the residual stream.</summary>
/// <remarks>
/// Shapes   x, y [n, hidden], w and b [1, hidden] (no b: Cohere); the same on every rank, so nothing is exchanged.
/// Source   Ba et al. 2016, eq. 4.
/// </remarks>
public sealed class LayerNorm(Tensor weight, Tensor? bias, float epsilon, ITensorBackend ops) : IRowNorm
{
    /// <inheritdoc/>
    public void Into(Tensor x, Tensor y) => ops.LayerNorm(x, weight, bias, epsilon, y);

    /// <inheritdoc/>
    public void InPlace(Tensor x) => ops.LayerNorm(x, weight, bias, epsilon, x);

    /// <inheritdoc/>
    public void AfterAdding(Tensor x, Tensor y, float scale, Tensor normed)
    {
        ops.AddScaled(x, y, scale);
        ops.LayerNorm(x, weight, bias, epsilon, normed);
    }
}
