using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>Gate and up projection as one product: y = [x · Wgᵀ + bg, x · Wuᵀ + bu].</summary>
/// <remarks>
/// Shapes   x [n, hidden], y [n, 2 · localIntermediate]: gate's outputs, then up's.
///          Neighbours of the same format are one packed matrix; different formats (a mixed GGUF file) are separate parts of one call.
/// </remarks>
public sealed class MergedColumnParallelLinear(ColumnParallelLinear gateUp)
{
    /// <summary>Gate's and up's outputs of this rank side by side; n × 0 where it owns no MLP column.</summary>
    public Tensor Forward(Tensor x) => gateUp.Forward(x);
}
