using TpServe.Kernels;

namespace TpServe.Model;

/// <summary>What all layers share in one step.</summary>
/// <param name="Tensors">Which token stands where.</param>
/// <param name="RotaryRows">[n, 1] Int32: each token's row of the rotary tables; its position, except for LongRoPE.</param>
/// <param name="Cache">Keys and values of this rank.</param>
public sealed record StepContext(StepTensors Tensors, Tensor RotaryRows, KvCache Cache);
