namespace TpServe.Checkpoint;

/// <summary>Storage types of tensors in model files that the readers know. Names and numbers up to 99 are GGML's: the number is the one in a GGUF file.</summary>
/// <remarks>
/// From 100 on stand what quantised matrices of hub folders are brought into (<see cref="QuantisedStorage"/>), from 200 on element types that only parts of
/// such matrices have.
/// Source  ggml.h, enum ggml_type; the safetensors format description.
/// </remarks>
public enum TensorType
{
    F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, Q8_K = 15, IQ2_XXS = 16, IQ2_XS = 17,
    IQ3_XXS = 18, IQ1_S = 19, IQ4_NL = 20, IQ3_S = 21, IQ2_S = 22, IQ4_XS = 23, IQ1_M = 29, BF16 = 30, TQ1_0 = 34, TQ2_0 = 35, MXFP4 = 39, NVFP4 = 40, Q1_0 = 41, Q2_0 = 42,
    INT4_F16 = 100, INT4_BF16 = 101, INT8 = 102, FP8 = 103,
    U8 = 200, I8 = 201, I32 = 202, I64 = 203, F8_E4M3 = 204,
}

/// <summary>Sizes of the storage types.</summary>
public static class TensorTypes
{
    private const TensorType LastOfGguf = TensorType.Q2_0, LastOfWeights = TensorType.FP8;

    /// <summary>The types of GGUF files as a message lists them.</summary>
    internal static string Supported { get; } = string.Join(", ", Enum.GetValues<TensorType>().Where(type => type <= LastOfGguf));

    /// <summary>A type by its number in a GGUF file; null where it is not read.</summary>
    internal static TensorType? OfGguf(uint number) => number <= (uint)LastOfGguf && Enum.IsDefined((TensorType)number) ? (TensorType)number : null;

    /// <summary>True where a matrix of weights may have the type; the others are parts of one.</summary>
    public static bool IsWeight(this TensorType type) => type <= LastOfWeights;

    /// <summary>True where a value stands for itself: vectors are of these.</summary>
    public static bool IsPlainFloat(this TensorType type) => type is TensorType.F32 or TensorType.F16 or TensorType.BF16;

    /// <summary>Elements of one block; a row holds whole blocks.</summary>
    public static int BlockElements(this TensorType type) => Block(type).Elements;

    /// <summary>Bytes of one block.</summary>
    public static int BlockBytes(this TensorType type) => Block(type).Bytes;

    /// <summary>Bits a weight takes in the memory of a CPU's rank: where the file's codes stand for more than they take, more than there.</summary>
    public static double HeldBits(this TensorType type) => type switch
    {
        TensorType.IQ1_S or TensorType.IQ2_XXS or TensorType.IQ3_XXS or TensorType.IQ3_S or TensorType.IQ4_XS => 4.3125,
        TensorType.IQ1_M or TensorType.IQ2_XS or TensorType.IQ2_S => 4.5625,
        TensorType.TQ1_0 => 2.0625,
        TensorType.Q1_0 => 2.125,
        TensorType.Q8_K => 8.125,
        _ => 8.0 * type.BlockBytes() / type.BlockElements(),
    };

    private static (int Elements, int Bytes) Block(TensorType type) => type switch
    {
        TensorType.F32 or TensorType.I32 => (1, 4),
        TensorType.F16 or TensorType.BF16 => (1, 2),
        TensorType.U8 or TensorType.I8 or TensorType.F8_E4M3 => (1, 1),
        TensorType.I64 => (1, 8),
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
        TensorType.Q8_K => (256, 292),
        TensorType.IQ1_S => (256, 50),
        TensorType.IQ1_M => (256, 56),
        TensorType.IQ2_XXS => (256, 66),
        TensorType.IQ2_XS => (256, 74),
        TensorType.IQ2_S => (256, 82),
        TensorType.IQ3_XXS => (256, 98),
        TensorType.IQ3_S => (256, 110),
        TensorType.IQ4_NL => (32, 18),
        TensorType.IQ4_XS => (256, 136),
        TensorType.TQ1_0 => (256, 54),
        TensorType.TQ2_0 => (256, 66),
        TensorType.MXFP4 => (32, 17),
        TensorType.NVFP4 => (64, 36),
        TensorType.Q1_0 => (128, 18),
        TensorType.Q2_0 => (64, 18),
        TensorType.INT4_F16 or TensorType.INT4_BF16 => (32, 19),
        TensorType.INT8 or TensorType.FP8 => (32, 36),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No such tensor type."),
    };
}
