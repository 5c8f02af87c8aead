namespace TpServe.Checkpoint;

/// <summary>Sizes of the storage types: elements and bytes of a block.</summary>
public static class TensorTypes
{
    /// <summary>Elements of one block; a row holds whole blocks.</summary>
    public static int BlockElements(this TensorType type) => type switch
    {
        TensorType.F32 or TensorType.F16 or TensorType.BF16 => 1,
        TensorType.Q4_0 or TensorType.Q4_1 or TensorType.Q5_0 or TensorType.Q5_1 or TensorType.Q8_0 or TensorType.IQ4_NL => 32,
        TensorType.Q2_K or TensorType.Q3_K or TensorType.Q4_K or TensorType.Q5_K or TensorType.Q6_K => 256,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No such tensor type."),
    };

    /// <summary>Bytes of one block.</summary>
    public static int BlockBytes(this TensorType type) => type switch
    {
        TensorType.F32 => 4,
        TensorType.F16 or TensorType.BF16 => 2,
        TensorType.Q4_0 or TensorType.IQ4_NL => 18,
        TensorType.Q4_1 => 20,
        TensorType.Q5_0 => 22,
        TensorType.Q5_1 => 24,
        TensorType.Q8_0 => 34,
        TensorType.Q2_K => 84,
        TensorType.Q3_K => 110,
        TensorType.Q4_K => 144,
        TensorType.Q5_K => 176,
        TensorType.Q6_K => 210,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No such tensor type."),
    };

    /// <summary>All types as a message lists them.</summary>
    internal static string Supported { get; } = string.Join(", ", Enum.GetNames<TensorType>());
}
