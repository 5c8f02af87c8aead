using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels;

/// <summary>How the weights of one matrix are stored. Up to 99 blocks are GGML's, byte for byte, and so are names and numbers; from 100 on they are what the forms of quantised hub folders are brought into.</summary>
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

    /// <summary>256 values: binary32 scale, signed 8-bit values, sums of 16.</summary>
    Q8_K = 15,

    /// <summary>256 values in 8 sub-blocks of 32: groups of eight magnitudes from a codebook of 256, signs of even parity.</summary>
    IQ2_XXS = 16,

    /// <summary>256 values in 16 sub-blocks of 16: groups of eight magnitudes from a codebook of 512, signs of even parity.</summary>
    IQ2_XS = 17,

    /// <summary>256 values in 8 sub-blocks of 32: groups of four magnitudes from a codebook of 256, signs of even parity.</summary>
    IQ3_XXS = 18,

    /// <summary>256 values in 8 sub-blocks of 32: groups of eight of −1, 0, 1 from a codebook of 2048, shifted by an eighth.</summary>
    IQ1_S = 19,

    /// <summary>32 values: fp16 scale, 4-bit indices into a fixed table of 16 signed bytes.</summary>
    IQ4_NL = 20,

    /// <summary>256 values in 8 sub-blocks of 32: groups of four magnitudes from a codebook of 512, a sign each.</summary>
    IQ3_S = 21,

    /// <summary>256 values in 16 sub-blocks of 16: groups of eight magnitudes from a codebook of 1024, a sign each.</summary>
    IQ2_S = 22,

    /// <summary>256 values in 8 sub-blocks of 32 with 6-bit scales, 4-bit indices into the table of IQ4_NL.</summary>
    IQ4_XS = 23,

    /// <summary>256 values in 16 sub-blocks of 16, as IQ1_S; the fp16 scale stands in the spare bits of the sub-blocks' scales.</summary>
    IQ1_M = 29,

    /// <summary>bfloat16.</summary>
    BF16 = 30,

    /// <summary>256 values: −1, 0 or 1 times an fp16 scale, five in a byte.</summary>
    TQ1_0 = 34,

    /// <summary>256 values: −1, 0, 1 or 2 times an fp16 scale, four in a byte.</summary>
    TQ2_0 = 35,

    /// <summary>32 values: 8-bit exponent, 4-bit floats (E2M1).</summary>
    MXFP4 = 39,

    /// <summary>64 values in 4 sub-blocks of 16 with 8-bit floats (E4M3) as scales, 4-bit floats (E2M1).</summary>
    NVFP4 = 40,

    /// <summary>128 values: a sign each times an fp16 scale.</summary>
    Q1_0 = 41,

    /// <summary>64 values: −1, 0, 1 or 2 times an fp16 scale.</summary>
    Q2_0 = 42,

    /// <summary>32 values: fp16 scale, byte zero, 4-bit values: scale · (q − zero).</summary>
    INT4_F16 = 100,

    /// <summary>32 values: bfloat16 scale, byte zero, 4-bit values: scale · (q − zero).</summary>
    INT4_BF16 = 101,

    /// <summary>32 values: binary32 scale, signed 8-bit values.</summary>
    INT8 = 102,

    /// <summary>32 values: binary32 scale, 8-bit floats (E4M3).</summary>
    FP8 = 103,
}

/// <summary>Block sizes of the formats.</summary>
public static class WeightFormats
{
    /// <summary>Values in one block; a row always holds whole blocks.</summary>
    public static int BlockValues(this WeightFormat format) => PanelFormat.Of(format).FileBlockValues;

    /// <summary>Bytes of one block in the file.</summary>
    public static int BlockBytes(this WeightFormat format) => PanelFormat.Of(format).FileBlockBytes;

    /// <summary>Bits a value takes in a CPU's panels, scales included.</summary>
    public static double PanelBits(this WeightFormat format)
    {
        PanelFormat panel = PanelFormat.Of(format);
        return 8.0 * panel.UnitBytes / (panel.PanelOutputs * panel.BlocksPerUnit * 32);
    }

    /// <summary>Bytes of a row of <paramref name="columns"/> values in the file.</summary>
    public static long RowBytes(this WeightFormat format, int columns) => (long)columns / format.BlockValues() * format.BlockBytes();
}
