using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels;

/// <summary>How a checkpoint stores the weights of one matrix. Blocks are GGML's, byte for byte, and so are names and numbers.</summary>
public enum WeightFormat
{
    /// <summary>binary32.</summary>
    F32 = 0,

    /// <summary>binary16.</summary>
    F16 = 1,

    /// <summary>32 values: fp16 scale, 4-bit values minus 8.</summary>
    Q4_0 = 2,

    /// <summary>32 values: fp16 scale and minimum, 4-bit values.</summary>
    Q4_1 = 3,

    /// <summary>32 values: fp16 scale, 5-bit values minus 16.</summary>
    Q5_0 = 6,

    /// <summary>32 values: fp16 scale and minimum, 5-bit values.</summary>
    Q5_1 = 7,

    /// <summary>32 values: fp16 scale, signed 8-bit values.</summary>
    Q8_0 = 8,

    /// <summary>256 values in 16 sub-blocks of 16, 2 bits.</summary>
    Q2_K = 10,

    /// <summary>256 values in 16 sub-blocks of 16, 3 bits.</summary>
    Q3_K = 11,

    /// <summary>256 values in 8 sub-blocks of 32, 4 bits.</summary>
    Q4_K = 12,

    /// <summary>256 values in 8 sub-blocks of 32, 5 bits.</summary>
    Q5_K = 13,

    /// <summary>256 values in 16 sub-blocks of 16, 6 bits.</summary>
    Q6_K = 14,

    /// <summary>32 values: fp16 scale, 4-bit indices into a fixed table of 16 signed bytes.</summary>
    IQ4_NL = 20,

    /// <summary>bfloat16.</summary>
    BF16 = 30,
}

/// <summary>Block sizes of the formats, as their panels have them: a panel keeps exactly the file's bytes.</summary>
public static class WeightFormats
{
    /// <summary>Values in one block; a row always holds whole blocks.</summary>
    public static int BlockValues(this WeightFormat format) => PanelFormat.Of(format).FileBlockValues;

    /// <summary>Bytes of one block in the file.</summary>
    public static int BlockBytes(this WeightFormat format) => PanelFormat.Of(format).FileBlockBytes;

    /// <summary>Bytes of a row of <paramref name="columns"/> values in the file.</summary>
    public static long RowBytes(this WeightFormat format, int columns) => (long)columns / format.BlockValues() * format.BlockBytes();
}
