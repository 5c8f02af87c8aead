namespace TpServe.Checkpoint;

/// <summary>Storage types of tensors in model files that the readers know. Names are GGML's.</summary>
public enum TensorType
{
    F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL,
}
