namespace TpServe.Kernels.Cpu.Packing;

/// <summary>The one description of a format's panel: packer, decoders and the emitter all follow it.</summary>
/// <remarks>
/// A panel holds all inputs of PanelOutputs outputs as one strictly ascending stream of units; a unit is a header and BlocksPerUnit blocks
/// of 32 inputs. Bytes per weight equal the file's but for the formats whose file block is given: their codes stand for less than they take there
/// (codebooks), or a scale is repeated. Weight value = scale · (code − Bias) for symmetric formats and scale · code ± minimum
/// for the others; Halves = 2 where inputs 0-15 and 16-31 of a block have scales of their own.
/// </remarks>
internal sealed class PanelFormat
{
    private static readonly PanelFormat[] All =
    [
        // file format, codes, scales, has a minimum, halves, bias
        new(WeightFormat.F32, CodeLayout.Float32, ScaleLayout.None, false, 1, 0),
        new(WeightFormat.F16, CodeLayout.Float16, ScaleLayout.None, false, 1, 0),
        new(WeightFormat.BF16, CodeLayout.BFloat16, ScaleLayout.None, false, 1, 0),
        new(WeightFormat.Q4_0, CodeLayout.Nibbles, ScaleLayout.Block, false, 1, 8),
        new(WeightFormat.Q4_1, CodeLayout.Nibbles, ScaleLayout.Block, true, 1, 0),
        new(WeightFormat.Q5_0, CodeLayout.NibblesHigh1, ScaleLayout.Block, false, 1, 16),
        new(WeightFormat.Q5_1, CodeLayout.NibblesHigh1, ScaleLayout.Block, true, 1, 0),
        new(WeightFormat.Q8_0, CodeLayout.Bytes, ScaleLayout.Block, false, 1, 128),
        new(WeightFormat.Q2_K, CodeLayout.Pairs, ScaleLayout.Nibbles, true, 2, 0),
        new(WeightFormat.Q3_K, CodeLayout.PairsHigh1, ScaleLayout.SixBit, false, 2, 4),
        new(WeightFormat.Q4_K, CodeLayout.Nibbles, ScaleLayout.SixBit, true, 1, 0),
        new(WeightFormat.Q5_K, CodeLayout.NibblesHigh1, ScaleLayout.SixBit, true, 1, 0),
        new(WeightFormat.Q6_K, CodeLayout.NibblesHigh2, ScaleLayout.Bytes, false, 2, 32),
        new(WeightFormat.IQ4_NL, CodeLayout.NibbleTable, ScaleLayout.Block, false, 1, 128) { Table = NibbleTables.NonLinear4 },
        new(WeightFormat.IQ4_XS, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 1, 128, 8, (256, 136)) { Table = NibbleTables.NonLinear4 },
        new(WeightFormat.MXFP4, CodeLayout.NibbleTable, ScaleLayout.Exponent, false, 1, 12) { Table = NibbleTables.Float4 },
        new(WeightFormat.NVFP4, CodeLayout.NibbleTable, ScaleLayout.Float8, false, 2, 12, 2) { Table = NibbleTables.Float4 },
        new(WeightFormat.IQ3_S, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 1, 15, 8, (256, 110)) { Table = NibbleTables.Odd },
        new(WeightFormat.IQ3_XXS, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 1, 128, 8, (256, 98)) { Table = NibbleTables.ThreeBits, Factor = 0.25f },
        new(WeightFormat.IQ2_S, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 2, 128, 8, (256, 82)) { Table = NibbleTables.TwoBits, Factor = 0.125f },
        new(WeightFormat.IQ2_XS, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 2, 128, 8, (256, 74)) { Table = NibbleTables.TwoBits, Factor = 0.125f },
        new(WeightFormat.IQ2_XXS, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 1, 128, 8, (256, 66)) { Table = NibbleTables.TwoBits, Factor = 0.125f },
        new(WeightFormat.IQ1_S, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 1, 9, 8, (256, 50)) { Table = NibbleTables.Shifted, Factor = 0.125f },
        new(WeightFormat.IQ1_M, CodeLayout.NibbleTable, ScaleLayout.Bytes, false, 2, 9, 8, (256, 56)) { Table = NibbleTables.Shifted, Factor = 0.125f },
        new(WeightFormat.TQ1_0, CodeLayout.Pairs, ScaleLayout.Block, false, 1, 1, 8, (256, 54)),
        new(WeightFormat.TQ2_0, CodeLayout.Pairs, ScaleLayout.Block, false, 1, 1, 8),
        new(WeightFormat.Q1_0, CodeLayout.Pairs, ScaleLayout.Block, false, 1, 1, 4, (128, 18)),
        new(WeightFormat.Q2_0, CodeLayout.Pairs, ScaleLayout.Block, false, 1, 1, 2),
        new(WeightFormat.Q8_K, CodeLayout.Bytes, ScaleLayout.Single, false, 1, 128, 8, (256, 292)),
        new(WeightFormat.INT4_F16, CodeLayout.Nibbles, ScaleLayout.Zero, true, 1, 0),
        new(WeightFormat.INT4_BF16, CodeLayout.Nibbles, ScaleLayout.BFloatZero, true, 1, 0),
        new(WeightFormat.INT8, CodeLayout.Bytes, ScaleLayout.Single, false, 1, 128),
        new(WeightFormat.FP8, CodeLayout.Float8, ScaleLayout.Single, false, 1, 0),
    ];

    private static readonly PanelFormat?[] ByNumber =
        [.. Enumerable.Range(0, 1 + All.Max(panel => (int)panel.Format)).Select(number => Array.Find(All, panel => (int)panel.Format == number))];

    private PanelFormat(
        WeightFormat format, CodeLayout codes, ScaleLayout scales, bool hasMinimum, int halves, int bias, int blocksPerUnit = 0, (int Values, int Bytes) fileBlock = default)
    {
        (Format, Codes, Scales, HasMinimum, Halves, Bias) = (format, codes, scales, hasMinimum, halves, bias);
        // Computed once: packers and products ask for these with every panel.
        IsFloat = scales == ScaleLayout.None;
        PanelOutputs = IsFloat ? 32 : 16;
        BlocksPerUnit = blocksPerUnit > 0 ? blocksPerUnit : scales is ScaleLayout.None or ScaleLayout.Block or ScaleLayout.Exponent or ScaleLayout.Zero or ScaleLayout.BFloatZero or ScaleLayout.Single ? 1 : 8;
        LaneFields = LaneFieldsOf(scales, hasMinimum);
        SixBitOffset = 16 * LaneFields.Sum(field => field.Bytes);
        HeaderBytes = SixBitOffset + (scales == ScaleLayout.SixBit ? 192 : 0);
        BlockScaleBytes = scales is ScaleLayout.Bytes or ScaleLayout.Nibbles or ScaleLayout.Float8 ? 16 * halves : 0;
        CodeBytes = CodeBytesOf(codes);
        BlockBytes = BlockScaleBytes + CodeBytes;
        UnitBytes = HeaderBytes + (BlocksPerUnit * BlockBytes);
        Steps = IsFloat ? [] : CodeStep.Of(codes);
        FileBlockValues = fileBlock.Values > 0 ? fileBlock.Values : IsFloat ? 1 : BlocksPerUnit * 32;
        FileBlockBytes = fileBlock.Bytes > 0 ? fileBlock.Bytes : UnitBytes / PanelOutputs / (IsFloat ? 32 : 1);
    }

    /// <summary>The panel of a file format.</summary>
    public static PanelFormat Of(WeightFormat format) =>
        ((uint)format < ByNumber.Length ? ByNumber[(int)format] : null) ?? throw new ArgumentOutOfRangeException(nameof(format), format, "unknown weight format");

    /// <summary>The file's format.</summary>
    public WeightFormat Format { get; }

    /// <summary>How a block's codes lie.</summary>
    public CodeLayout Codes { get; }

    /// <summary>How their scales lie.</summary>
    public ScaleLayout Scales { get; }

    /// <summary>True where a value is scale · code ± minimum.</summary>
    public bool HasMinimum { get; }

    /// <summary>Scales of a block of 32 inputs.</summary>
    public int Halves { get; }

    /// <summary>What a code is above its value.</summary>
    public int Bias { get; }

    /// <summary>The signed values of indices; empty where codes are values.</summary>
    public sbyte[] Table { get; private init; } = [];

    /// <summary>A power of two that scales are multiplied by, beside what stands in the panel.</summary>
    public float Factor { get; private init; } = 1f;

    /// <summary>Where a unit's header keeps a number for each of 16 outputs, and its bytes.</summary>
    public (int Offset, int Bytes)[] LaneFields { get; }

    /// <summary>The largest unsigned code.</summary>
    public int LargestCode => Codes switch
    {
        CodeLayout.NibbleTable => Bias + Table.Max(),
        CodeLayout.Pairs => 3,
        CodeLayout.PairsHigh1 => 7,
        CodeLayout.Nibbles => 15,
        CodeLayout.NibblesHigh1 => 31,
        CodeLayout.NibblesHigh2 => 63,
        _ => 255,
    };

    /// <summary>How codes come out of a block's vectors; empty for float weights.</summary>
    public CodeStep[] Steps { get; }

    /// <summary>Values of one block of the file; a unit holds that many of each output.</summary>
    public int FileBlockValues { get; }

    /// <summary>Bytes of one block of the file.</summary>
    public int FileBlockBytes { get; }

    /// <summary>Weights are floats: no codes, no scales, 32 outputs.</summary>
    public bool IsFloat { get; }

    /// <summary>Outputs of a panel.</summary>
    public int PanelOutputs { get; }

    /// <summary>32-blocks that share a header.</summary>
    public int BlocksPerUnit { get; }

    /// <summary>True where the minimum is subtracted: all that have one but Q4_1 and Q5_1.</summary>
    public bool SubtractsMinimum => HasMinimum && Scales != ScaleLayout.Block;

    /// <summary>Where dmin stands in a unit, after d.</summary>
    public static int MinimumOffset => 32;

    /// <summary>Where the six-bit numbers stand in a unit.</summary>
    public int SixBitOffset { get; }

    /// <summary>Bytes before the first block of a unit.</summary>
    public int HeaderBytes { get; }

    /// <summary>Bytes of scales at the start of each block.</summary>
    public int BlockScaleBytes { get; }

    /// <summary>Bytes of codes in a block.</summary>
    public int CodeBytes { get; }

    /// <summary>Bytes from one block to the next.</summary>
    public int BlockBytes { get; }

    /// <summary>Bytes from one unit to the next.</summary>
    public int UnitBytes { get; }

    /// <summary>Bytes of a panel of <paramref name="units"/> units; panels start on cache lines.</summary>
    public long PanelBytes(int units) => ((long)units * UnitBytes + 63) / 64 * 64;

    /// <summary>From this many rows on, computing a panel outlasts reading it, and the next panel is prefetched meanwhile.</summary>
    public int PrefetchRows => Format switch
    {
        WeightFormat.BF16 => 12,
        WeightFormat.F16 or WeightFormat.F32 => 8,
        WeightFormat.Q8_0 or WeightFormat.INT8 or WeightFormat.FP8 => 6,
        WeightFormat.Q4_0 or WeightFormat.Q4_1 or WeightFormat.IQ4_NL or WeightFormat.Q5_0 or WeightFormat.Q5_1 or WeightFormat.IQ4_XS or WeightFormat.MXFP4 => 4,
        WeightFormat.Q4_K or WeightFormat.Q5_K => 3,
        _ => 2,
    };

    private static (int Offset, int Bytes)[] LaneFieldsOf(ScaleLayout scales, bool hasMinimum) => scales switch
    {
        ScaleLayout.None or ScaleLayout.Float8 => [],
        ScaleLayout.Exponent => [(0, 1)],
        ScaleLayout.Zero or ScaleLayout.BFloatZero => [(0, 2), (MinimumOffset, 1)],
        ScaleLayout.Single => [(0, 4)],
        _ => hasMinimum ? [(0, 2), (MinimumOffset, 2)] : [(0, 2)],
    };

    private static int CodeBytesOf(CodeLayout codes) => codes switch
    {
        CodeLayout.Bytes or CodeLayout.Float8 => 512,
        CodeLayout.Nibbles or CodeLayout.NibbleTable => 256,
        CodeLayout.NibblesHigh1 => 320,
        CodeLayout.NibblesHigh2 => 384,
        CodeLayout.Pairs => 128,
        CodeLayout.PairsHigh1 => 192,
        CodeLayout.Float32 => 4096,
        _ => 2048,
    };
}

/// <summary>How a panel stores the unsigned codes of one block: 32 inputs × 16 outputs (32 outputs for the float layouts).</summary>
/// <remarks>
/// A vector is 64 bytes: byte 4 · output + (k mod 4). k4 = k / 4 is 0..7. Nibble vectors N0..N3: low nibble k4 = j, high nibble k4 = j + 4.
/// Pair vectors P0, P1: bits 2t and 2t + 1 hold k4 = 4h + t.
/// </remarks>
internal enum CodeLayout
{
    /// <summary>Eight vectors, Vj = k4 j.</summary>
    Bytes,

    /// <summary>N0..N3.</summary>
    Nibbles,

    /// <summary>N0..N3 of indices into the format's table.</summary>
    NibbleTable,

    /// <summary>N0..N3, then H: bit j is bit 4 of k4 = j.</summary>
    NibblesHigh1,

    /// <summary>N0..N3, then H0, H1: bits 0-1, 2-3, 4-5, 6-7 of Hh are bits 4-5 of k4 = 2h, 2h+1, 4+2h, 5+2h.</summary>
    NibblesHigh2,

    /// <summary>P0, P1.</summary>
    Pairs,

    /// <summary>P0, P1, then H: bit j is bit 2 of k4 = j.</summary>
    PairsHigh1,

    /// <summary>As Bytes: 8-bit floats, E4M3.</summary>
    Float8,

    /// <summary>Per k: 32 binary32.</summary>
    Float32,

    /// <summary>Per k: 32 binary16.</summary>
    Float16,

    /// <summary>Per pair of k: 32 dwords, k even below k odd.</summary>
    BFloat16,
}

/// <summary>How a panel stores scales and minima. d and dmin are 16 fp16 each, one per output.</summary>
internal enum ScaleLayout
{
    /// <summary>None: float weights.</summary>
    None,

    /// <summary>Every unit: d, and dmin where there is a minimum, before the codes.</summary>
    Block,

    /// <summary>
    /// Every 256: d, dmin where there is a minimum, then 192 bytes of 256 six-bit numbers; number index = (2 · block + which) · 16 + output.
    /// Numbers 0..191 are the low 6 bits of the bytes; number 192 + t has its bits 0-1, 2-3, 4-5 in the top 2 bits of bytes t, 64 + t, 128 + t.
    /// With a minimum, which = 0 is the scale and 1 the minimum; without, the scales of the two halves plus 32.
    /// </summary>
    SixBit,

    /// <summary>Every 256: d; every block: 16 signed bytes, or 16 for each half, its scales, before the codes.</summary>
    Bytes,

    /// <summary>Every 256: d, dmin; every block: 16 + 16 bytes, scale (low nibble) and minimum (high nibble) of its halves, before the codes.</summary>
    Nibbles,

    /// <summary>Every unit: 16 bytes, e of the scale 2^(e − 128).</summary>
    Exponent,

    /// <summary>Every block: 16 + 16 bytes, the scales of its halves as E4M3, of which one half counts (the codes are doubled).</summary>
    Float8,

    /// <summary>Every unit: d, then 16 bytes z; the minimum d · z is subtracted.</summary>
    Zero,

    /// <summary>The same with d as bfloat16.</summary>
    BFloatZero,

    /// <summary>Every unit: 16 binary32.</summary>
    Single,
}

/// <summary>How the codes of one k4 come out of a block's vectors: ((low >> LowShift) &amp; LowMask) | ((high &lt;&lt; HighShift) &amp; HighMask).</summary>
/// <param name="K4">k / 4 inside the block.</param>
/// <param name="Low">Vector with the low bits.</param>
/// <param name="LowShift">Right shift of the low bits.</param>
/// <param name="LowMask">Which bits of a byte they fill; 0xFF: the whole byte.</param>
/// <param name="High">Vector with the high bits; −1: none.</param>
/// <param name="HighShift">Left shift of the high bits; negative: right.</param>
/// <param name="HighMask">Which bits of a byte they fill.</param>
internal readonly record struct CodeStep(int K4, int Low, int LowShift, int LowMask, int High, int HighShift, int HighMask)
{
    /// <summary>Four codes side by side, from a dword of each vector. What is shifted across a byte's border is masked off.</summary>
    public uint Of(uint low, uint high) =>
        ((low >> LowShift) & ((uint)LowMask * 0x01010101)) | ((HighShift >= 0 ? high << HighShift : high >> -HighShift) & ((uint)HighMask * 0x01010101));

    /// <summary>The eight steps of a block, in the order that loads every vector once.</summary>
    public static CodeStep[] Of(CodeLayout layout)
    {
        bool nibbles = layout is CodeLayout.Nibbles or CodeLayout.NibbleTable or CodeLayout.NibblesHigh1 or CodeLayout.NibblesHigh2;
        CodeStep[] steps = new CodeStep[8];
        for (int i = 0; i < 8; i++)
        {
            int k4 = nibbles ? (i >> 1) + (4 * (i & 1)) : i;
            int at = 2 * ((k4 & 1) + (2 * (k4 >> 2))); // of the two high bits, in NibblesHigh2
            steps[i] = layout switch
            {
                CodeLayout.Bytes or CodeLayout.Float8 => new CodeStep(k4, k4, 0, 0xFF, -1, 0, 0),
                CodeLayout.Nibbles or CodeLayout.NibbleTable => new CodeStep(k4, k4 & 3, 4 * (k4 >> 2), 0x0F, -1, 0, 0),
                CodeLayout.NibblesHigh1 => new CodeStep(k4, k4 & 3, 4 * (k4 >> 2), 0x0F, 4, 4 - k4, 0x10),
                CodeLayout.NibblesHigh2 => new CodeStep(k4, k4 & 3, 4 * (k4 >> 2), 0x0F, 4 + ((k4 & 3) >> 1), 4 - at, 0x30),
                CodeLayout.Pairs => new CodeStep(k4, k4 >> 2, 2 * (k4 & 3), 0x03, -1, 0, 0),
                CodeLayout.PairsHigh1 => new CodeStep(k4, k4 >> 2, 2 * (k4 & 3), 0x03, 2, 2 - k4, 0x04),
                _ => throw new ArgumentOutOfRangeException(nameof(layout), layout, "float panels hold no codes"),
            };
        }
        return steps;
    }
}
