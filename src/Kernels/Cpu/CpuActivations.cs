namespace TpServe.Kernels.Cpu;

/// <summary>What the input of a matrix product is rounded to before it meets the weights.</summary>
public enum CpuActivations
{
    /// <summary>What suits the weight's format: 8-bit blocks for the quantised ones, bf16 for bf16, float32 for f16 and f32.</summary>
    Auto,

    /// <summary>float32 for every format: weights are widened exactly, one fused multiply-add per weight in ascending order.</summary>
    Float32,
}
