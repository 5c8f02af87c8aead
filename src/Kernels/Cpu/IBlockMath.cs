using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>The arithmetic of one 32-block in one instruction set; the numerics are <see cref="PanelKernel"/>'s.</summary>
/// <remarks>Shapes   acc [rows, panel outputs], values [32, panel outputs], a: one block of an activation tile.</remarks>
internal unsafe interface IBlockMath
{
    /// <summary>Codes, scales and minima of a block of a quantised panel.</summary>
    static abstract void Decode(PanelFormat format, byte* unit, int block, DecodedBlock* decoded);

    /// <summary>Exact float32 weights of a decoded block.</summary>
    static abstract void Values(PanelFormat format, DecodedBlock* decoded, float* values);

    /// <summary>Exact float32 weights of a block of a binary16 or bfloat16 panel.</summary>
    static abstract void Widen(CodeLayout layout, byte* codes, float* values);

    /// <summary>Integer products.</summary>
    static abstract void Integers<TCodes>(PanelFormat format, DecodedBlock* weights, byte* a, int rows, float* acc) where TCodes : struct, ICodeRange;

    /// <summary>float32 products.</summary>
    static abstract void Floats(float* values, int outputs, float* a, int rows, float* acc);

    /// <summary>bfloat16 products; scratch has room for 32 × 32 floats.</summary>
    static abstract void BFloats(byte* codes, byte* a, int rows, float* acc, float* scratch);

    /// <summary>lower += upper.</summary>
    static abstract void Merge(float* lower, float* upper, int count);
}

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

/// <summary>The largest unsigned code of a group of formats: how many 16-bit products may be added before they must widen.</summary>
internal interface ICodeRange
{
    /// <summary>Largest code.</summary>
    static abstract int Largest { get; }
}

/// <summary>Formats of up to 5 bits.</summary>
internal readonly struct FiveBits : ICodeRange
{
    /// <inheritdoc/>
    public static int Largest => 31;
}

/// <summary>Q6_K.</summary>
internal readonly struct SixBits : ICodeRange
{
    /// <inheritdoc/>
    public static int Largest => 63;
}

/// <summary>Q8_0 and IQ4_NL.</summary>
internal readonly struct EightBits : ICodeRange
{
    /// <inheritdoc/>
    public static int Largest => 255;
}
