namespace TpServe.Kernels.Cpu.Packing;

/// <summary>The one description of a format's panel: packer, decoders and the emitter all follow it.</summary>
/// <remarks>
/// A panel holds all inputs of PanelOutputs outputs as one strictly ascending stream of units; a unit is a header and BlocksPerUnit blocks
/// of 32 inputs. Bytes per weight equal the file's. Weight value = scale · (code − Bias) for symmetric formats and scale · code ± minimum
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
        new(WeightFormat.IQ4_NL, CodeLayout.NibbleTable, ScaleLayout.Block, false, 1, 128),
    ];

    private static readonly PanelFormat?[] ByNumber =
        [.. Enumerable.Range(0, 1 + All.Max(panel => (int)panel.Format)).Select(number => Array.Find(All, panel => (int)panel.Format == number))];

    private PanelFormat(WeightFormat format, CodeLayout codes, ScaleLayout scales, bool hasMinimum, int halves, int bias)
    {
        (Format, Codes, Scales, HasMinimum, Halves, Bias) = (format, codes, scales, hasMinimum, halves, bias);
        // Computed once: packers and products ask for these with every panel.
        IsFloat = scales == ScaleLayout.None;
        PanelOutputs = IsFloat ? 32 : 16;
        BlocksPerUnit = scales is ScaleLayout.None or ScaleLayout.Block ? 1 : 8;
        SixBitOffset = hasMinimum ? 64 : 32;
        HeaderBytes = IsFloat ? 0 : SixBitOffset + (scales == ScaleLayout.SixBit ? 192 : 0);
        BlockScaleBytes = scales is ScaleLayout.Bytes or ScaleLayout.Nibbles ? 32 : 0;
        CodeBytes = CodeBytesOf(codes);
        BlockBytes = BlockScaleBytes + CodeBytes;
        UnitBytes = HeaderBytes + (BlocksPerUnit * BlockBytes);
        Steps = IsFloat ? [] : CodeStep.Of(codes);
        FileBlockValues = IsFloat ? 1 : BlocksPerUnit * 32;
        FileBlockBytes = UnitBytes / PanelOutputs / (IsFloat ? 32 : 1);
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

    /// <summary>The largest unsigned code.</summary>
    public int LargestCode => Codes switch
    {
        CodeLayout.Pairs => 3,
        CodeLayout.PairsHigh1 => 7,
        CodeLayout.Nibbles => 15,
        CodeLayout.NibblesHigh1 => 31,
        CodeLayout.NibblesHigh2 => 63,
        _ => 255,
    };

    /// <summary>How codes come out of a block's vectors; empty for float weights.</summary>
    public CodeStep[] Steps { get; }

    /// <summary>Values of one block of the file.</summary>
    public int FileBlockValues { get; }

    /// <summary>Bytes of one block of the file: a unit holds one of each output, or 32 floats.</summary>
    public int FileBlockBytes { get; }

    /// <summary>Weights are floats: no codes, no scales, 32 outputs.</summary>
    public bool IsFloat { get; }

    /// <summary>Outputs of a panel.</summary>
    public int PanelOutputs { get; }

    /// <summary>32-blocks that share a header.</summary>
    public int BlocksPerUnit { get; }

    /// <summary>True where the file's minimum is subtracted (the K formats).</summary>
    public bool SubtractsMinimum => HasMinimum && BlocksPerUnit == 8;

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
        WeightFormat.Q8_0 => 6,
        WeightFormat.Q4_0 or WeightFormat.Q4_1 or WeightFormat.IQ4_NL or WeightFormat.Q5_0 or WeightFormat.Q5_1 => 4,
        WeightFormat.Q4_K or WeightFormat.Q5_K => 3,
        _ => 2,
    };

    private static int CodeBytesOf(CodeLayout codes) => codes switch
    {
        CodeLayout.Bytes => 512,
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

    /// <summary>N0..N3 of indices into the IQ4_NL table.</summary>
    NibbleTable,

    /// <summary>N0..N3, then H: bit j is bit 4 of k4 = j.</summary>
    NibblesHigh1,

    /// <summary>N0..N3, then H0, H1: bits 0-1, 2-3, 4-5, 6-7 of Hh are bits 4-5 of k4 = 2h, 2h+1, 4+2h, 5+2h.</summary>
    NibblesHigh2,

    /// <summary>P0, P1.</summary>
    Pairs,

    /// <summary>P0, P1, then H: bit j is bit 2 of k4 = j.</summary>
    PairsHigh1,

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

    /// <summary>Every 32-block: d, and dmin where there is a minimum, before the codes.</summary>
    Block,

    /// <summary>
    /// Every 256: d, dmin where there is a minimum, then 192 bytes of 256 six-bit numbers; number index = (2 · block + which) · 16 + output.
    /// Numbers 0..191 are the low 6 bits of the bytes; number 192 + t has its bits 0-1, 2-3, 4-5 in the top 2 bits of bytes t, 64 + t, 128 + t.
    /// With a minimum, which = 0 is the scale and 1 the minimum; without, the scales of the two halves plus 32.
    /// </summary>
    SixBit,

    /// <summary>Every 256: d; every block: 16 + 16 signed bytes, the scales of its halves, before the codes.</summary>
    Bytes,

    /// <summary>Every 256: d, dmin; every block: 16 + 16 bytes, scale (low nibble) and minimum (high nibble) of its halves, before the codes.</summary>
    Nibbles,
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
                CodeLayout.Bytes => new CodeStep(k4, k4, 0, 0xFF, -1, 0, 0),
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
