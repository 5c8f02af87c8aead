namespace TpServe.Checkpoint.Gguf;

/// <summary>Tensor types of GGUF by their number in the file: those TpServe reads, and the names of the others for messages.</summary>
/// <remarks>Source  ggml.h, enum ggml_type.</remarks>
internal static class GgufTensorTypes
{
    /// <summary>The storage type, or null where TpServe does not read it.</summary>
    public static TensorType? Find(uint number) => number switch
    {
        0 => TensorType.F32,
        1 => TensorType.F16,
        2 => TensorType.Q4_0,
        3 => TensorType.Q4_1,
        6 => TensorType.Q5_0,
        7 => TensorType.Q5_1,
        8 => TensorType.Q8_0,
        10 => TensorType.Q2_K,
        11 => TensorType.Q3_K,
        12 => TensorType.Q4_K,
        13 => TensorType.Q5_K,
        14 => TensorType.Q6_K,
        20 => TensorType.IQ4_NL,
        30 => TensorType.BF16,
        _ => null,
    };

    /// <summary>How people call a type that TpServe does not read.</summary>
    public static string Name(uint number) => number switch
    {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => $"number {number}",
    };
}
