namespace TpServe.Checkpoint;

/// <summary>Storage types of tensors in model files that the readers know. Names and numbers are GGML's: the number is the one in a GGUF file.</summary>
/// <remarks>Source  ggml.h, enum ggml_type.</remarks>
public enum TensorType
{
    F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, IQ4_NL = 20, BF16 = 30,
}

/// <summary>Sizes of the storage types.</summary>
public static class TensorTypes
{
    /// <summary>All types as a message lists them.</summary>
    internal static string Supported { get; } = string.Join(", ", Enum.GetNames<TensorType>());

    /// <summary>Elements of one block; a row holds whole blocks.</summary>
    public static int BlockElements(this TensorType type) => Block(type).Elements;

    /// <summary>Bytes of one block.</summary>
    public static int BlockBytes(this TensorType type) => Block(type).Bytes;

    private static (int Elements, int Bytes) Block(TensorType type) => type switch
    {
        TensorType.F32 => (1, 4),
        TensorType.F16 => (1, 2),
        TensorType.Q4_0 => (32, 18),
        TensorType.Q4_1 => (32, 20),
        TensorType.Q5_0 => (32, 22),
        TensorType.Q5_1 => (32, 24),
        TensorType.Q8_0 => (32, 34),
        TensorType.Q2_K => (256, 84),
        TensorType.Q3_K => (256, 110),
        TensorType.Q4_K => (256, 144),
        TensorType.Q5_K => (256, 176),
        TensorType.Q6_K => (256, 210),
        TensorType.IQ4_NL => (32, 18),
        TensorType.BF16 => (1, 2),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No such tensor type."),
    };
}
