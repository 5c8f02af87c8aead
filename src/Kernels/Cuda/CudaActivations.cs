namespace TpServe.Kernels.Cuda;

/// <summary>In which type activations enter a matrix product and attention.</summary>
public enum CudaActivations
{
    /// <summary>What the tensor cores take: bfloat16 or binary16 as the weight or cache is, 8 bits a block of 32 for quantised weights. Emulated devices compute in float32 where an operation would need tensor cores.</summary>
    Auto,

    /// <summary>float32 with plain multiply-adds.</summary>
    Float32,
}
