namespace TpServe.Kernels.Cpu;

/// <summary>32 inputs × 16 outputs of a quantised panel, decoded for the intrinsic and plain paths.</summary>
internal unsafe struct DecodedBlock
{
    /// <summary>Unsigned codes: vector k / 4, byte 4 · output + (k mod 4).</summary>
    public fixed byte Codes[512];

    /// <summary>Scales of inputs 0..15, or of all 32.</summary>
    public fixed float Scale0[16];

    /// <summary>Scales of inputs 16..31.</summary>
    public fixed float Scale1[16];

    /// <summary>Minima of inputs 0..15, or of all 32, with the file's sign.</summary>
    public fixed float Min0[16];

    /// <summary>Minima of inputs 16..31.</summary>
    public fixed float Min1[16];
}
