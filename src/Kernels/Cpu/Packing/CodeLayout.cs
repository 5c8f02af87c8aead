namespace TpServe.Kernels.Cpu.Packing;

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
