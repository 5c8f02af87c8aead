using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>y = x / sqrt(mean(x²) + ε) · w over the residual stream.</summary>
/// <remarks>
/// Shapes   x, y [n, hidden], w [1, hidden]; the same on every rank, so nothing is exchanged.
/// Source   Zhang and Sennrich 2019, eq. 4. Where a family stores w − 1 (Gemma), the loader has added the 1.
/// </remarks>
public sealed class RmsNorm(Tensor weight, float epsilon, ITensorBackend ops)
{
    /// <summary>y ← norm(x).</summary>
    public void Into(Tensor x, Tensor y) => ops.RmsNorm(x, weight, epsilon, y);

    /// <summary>x ← norm(x).</summary>
    public void InPlace(Tensor x) => ops.RmsNorm(x, weight, epsilon, x);

    /// <summary>x ← x + scale · y, then normed ← norm(x), in one operation.</summary>
    public void AfterAdding(Tensor x, Tensor y, float scale, Tensor normed) => ops.AddNorm(x, y, scale, weight, epsilon, normed);
}
