using ILGPU;

namespace TpServe.Kernels.Cuda.Attention;

/// <summary>The tensors of one attention call as kernels see them.</summary>
/// <param name="Queries">q.</param>
/// <param name="Cache">Keys and values.</param>
/// <param name="KvHeads">The KV head of each query head.</param>
/// <param name="Positions">Of each row.</param>
/// <param name="Sequences">Of each row: its row of the block tables.</param>
/// <param name="Tables">Block tables.</param>
/// <param name="Result">y.</param>
/// <param name="Partials">Partial results of chunks; empty where none are left.</param>
internal readonly record struct AttentionOperands(
    ArrayView<float> Queries, KvView Cache, ArrayView<int> KvHeads, ArrayView<int> Positions, ArrayView<int> Sequences, ArrayView<int> Tables,
    ArrayView<float> Result, ArrayView<float> Partials);
