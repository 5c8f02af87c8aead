namespace TpServe.Kernels.Cpu.Packing;

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
