using TpServe.Kernels;
using TpServe.Model.Adapters;

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

    /// <summary>The matrices; empty or without outputs where the rank has none.</summary>
    public ReadOnlySpan<PackedWeight> Parts => parts;

    /// <summary>True where something is added to every output.</summary>
    public bool HasBias => bias is not null;

    /// <summary>This rank's outputs; n × 0 where it has none.</summary>
    public Tensor Forward(Tensor x, LoraOfLayer lora = default, LoraPlace place = default)
    {
        if (_outputs == 0)
            return ops.Rent(x.Rows, 0);
        Tensor y = ops.Rent(x.Rows, _outputs);
        ops.Linear(x, parts, y);
        if (bias is { } vector)
            ops.AddRow(y, vector);
        lora.AddTo(place, x, y, ops);
        return y;
    }
}

/// <summary>Gate and up projection as one product: y = [x · Wgᵀ + bg, x · Wuᵀ + bu].</summary>
/// <remarks>
/// Shapes   x [n, hidden], y [n, 2 · localIntermediate]: gate's outputs, then up's.
///          Neighbours of the same format are one packed matrix; different formats (a mixed GGUF file) are separate parts of one call.
/// </remarks>
public sealed class MergedColumnParallelLinear(ColumnParallelLinear gateUp)
{
    /// <summary>The product itself.</summary>
    public ColumnParallelLinear Product => gateUp;

    /// <summary>Gate's and up's outputs of this rank side by side; n × 0 where it owns no MLP column.</summary>
    public Tensor Forward(Tensor x, LoraOfLayer lora = default) => gateUp.Forward(x, lora, LoraPlace.GateUp);
}

/// <summary>Query, key and value projections of this rank's heads as one product.</summary>
/// <remarks>
/// Shapes   x [n, hidden]; q [n, localHeads · headDim], k and v [n, localKvHeads · headDim], views of one rented tensor.
///          A KV head whose query heads are split between two ranks is computed on both, with the same bits.
/// </remarks>
public sealed class QkvParallelLinear(ColumnParallelLinear qkv, int queryColumns, int kvColumns)
{
    /// <summary>This rank's q, k and v; n × 0 each where it owns no head.</summary>
    public (Tensor Query, Tensor Key, Tensor Value) Forward(Tensor x, LoraOfLayer lora = default)
    {
        Tensor y = qkv.Forward(x, lora, LoraPlace.Qkv);
        return (y.ColumnSlice(0, queryColumns), y.ColumnSlice(queryColumns, kvColumns), y.ColumnSlice(queryColumns + kvColumns, kvColumns));
    }
}
