using TpServe.Kernels;

namespace TpServe.Model.Layers;

/// <summary>Query, key and value projections of this rank's heads as one product.</summary>
/// <remarks>
/// Shapes   x [n, hidden]; q [n, localHeads · headDim], k and v [n, localKvHeads · headDim], views of one rented tensor.
///          A KV head whose query heads are split between two ranks is computed on both, with the same bits.
/// </remarks>
public sealed class QkvParallelLinear(ColumnParallelLinear qkv, int queryColumns, int kvColumns)
{
    /// <summary>This rank's q, k and v; n × 0 each where it owns no head.</summary>
    public (Tensor Query, Tensor Key, Tensor Value) Forward(Tensor x)
    {
        Tensor y = qkv.Forward(x);
        return (y.ColumnSlice(0, queryColumns), y.ColumnSlice(queryColumns, kvColumns), y.ColumnSlice(queryColumns + kvColumns, kvColumns));
    }
}
