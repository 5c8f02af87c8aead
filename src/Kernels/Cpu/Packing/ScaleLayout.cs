namespace TpServe.Kernels.Cpu.Packing;

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
