namespace TpServe.Kernels;

/// <summary>How a checkpoint stores the weights of one matrix. Blocks are GGML's, byte for byte.</summary>
public enum WeightFormat
{
    /// <summary>binary32.</summary>
    F32,

    /// <summary>binary16.</summary>
    F16,

    /// <summary>bfloat16.</summary>
    BF16,

    /// <summary>32 values: fp16 scale, 4-bit values minus 8.</summary>
    Q4_0,

    /// <summary>32 values: fp16 scale and minimum, 4-bit values.</summary>
    Q4_1,

    /// <summary>32 values: fp16 scale, 5-bit values minus 16.</summary>
    Q5_0,

    /// <summary>32 values: fp16 scale and minimum, 5-bit values.</summary>
    Q5_1,

    /// <summary>32 values: fp16 scale, signed 8-bit values.</summary>
    Q8_0,

    /// <summary>256 values in 16 sub-blocks of 16, 2 bits.</summary>
    Q2_K,

    /// <summary>256 values in 16 sub-blocks of 16, 3 bits.</summary>
    Q3_K,

    /// <summary>256 values in 8 sub-blocks of 32, 4 bits.</summary>
    Q4_K,

    /// <summary>256 values in 8 sub-blocks of 32, 5 bits.</summary>
    Q5_K,

    /// <summary>256 values in 16 sub-blocks of 16, 6 bits.</summary>
    Q6_K,

    /// <summary>32 values: fp16 scale, 4-bit indices into a fixed table of 16 signed bytes.</summary>
    IQ4_NL,
}

/// <summary>Block sizes of the formats.</summary>
public static class WeightFormats
{
    /// <summary>Values in one block; a row always holds whole blocks.</summary>
    public static int BlockValues(this WeightFormat format) => format switch
    {
        WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16 => 1,
        WeightFormat.Q4_0 or WeightFormat.Q4_1 or WeightFormat.Q5_0 or WeightFormat.Q5_1 or WeightFormat.Q8_0 or WeightFormat.IQ4_NL => 32,
        _ => 256,
    };

    /// <summary>Bytes of one block in the file.</summary>
    public static int BlockBytes(this WeightFormat format) => format switch
    {
        WeightFormat.F32 => 4,
        WeightFormat.F16 or WeightFormat.BF16 => 2,
        WeightFormat.Q4_0 or WeightFormat.IQ4_NL => 18,
        WeightFormat.Q4_1 => 20,
        WeightFormat.Q5_0 => 22,
        WeightFormat.Q5_1 => 24,
        WeightFormat.Q8_0 => 34,
        WeightFormat.Q2_K => 84,
        WeightFormat.Q3_K => 110,
        WeightFormat.Q4_K => 144,
        WeightFormat.Q5_K => 176,
        WeightFormat.Q6_K => 210,
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "unknown weight format"),
    };

    /// <summary>Bytes of a row of <paramref name="columns"/> values in the file.</summary>
    public static long RowBytes(this WeightFormat format, int columns) => (long)columns / format.BlockValues() * format.BlockBytes();
}
