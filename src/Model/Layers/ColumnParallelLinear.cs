using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>y = x · Wᵀ + b for the output features of this rank: what follows works on its own part, so nothing is exchanged.</summary>
/// <remarks>
/// Shapes   x [n, in], W [localOutputs, in], b [1, localOutputs], y [n, localOutputs] rented from the backend.
/// Source   Shoeybi et al. 2019 (Megatron-LM), §3.
/// </remarks>
public sealed class ColumnParallelLinear(PackedWeight[] parts, Tensor? bias, ITensorBackend ops)
{
    private readonly int _outputs = parts.Sum(part => part.Outputs);

    /// <summary>Output features on this rank: those of all parts, side by side.</summary>
    public int LocalOutputs => _outputs;

    /// <summary>This rank's outputs; n × 0 where it has none.</summary>
    public Tensor Forward(Tensor x)
    {
        if (_outputs == 0)
            return ops.Rent(x.Rows, 0);
        Tensor y = ops.Rent(x.Rows, _outputs);
        ops.Linear(x, parts, y);
        if (bias is { } vector)
            ops.AddRow(y, vector);
        return y;
    }
}
