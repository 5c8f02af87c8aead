namespace TpServe.Kernels.Cpu;

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
