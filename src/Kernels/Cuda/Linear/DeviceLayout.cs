namespace TpServe.Kernels.Cuda.Linear;

/// <summary>How a block's codes are written to the device.</summary>
internal enum CodeKind
{
    /// <summary><see cref="Float32Layout"/>.</summary>
    Float32,

    /// <summary>16-bit floats, <see cref="HalfTiles"/>.</summary>
    Halves,

    /// <summary><see cref="ByteCodes"/>.</summary>
    Bytes,

    /// <summary>Unsigned, <see cref="NibbleWords"/>.</summary>
    Nibbles,
}

/// <summary>How a block's scales are written to the device.</summary>
internal enum ScaleKind
{
    /// <summary>None: float weights.</summary>
    None,

    /// <summary><see cref="HalfScales"/>.</summary>
    Half,

    /// <summary><see cref="HalfScaleMinimums"/>.</summary>
    HalfMinimum,

    /// <summary><see cref="SixBitScaleMinimums"/>.</summary>
    SixBitMinimum,

    /// <summary><see cref="ByteHalfScales"/>.</summary>
    BytePair,

    /// <summary><see cref="NibbleHalfScaleMinimums"/>.</summary>
    NibblePairMinimum,

    /// <summary><see cref="HalfPairScales"/>.</summary>
    HalfPair,

    /// <summary><see cref="SingleScales"/>.</summary>
    Single,
}

/// <summary>What a file format becomes on the device, as the packer writes it; the kernels' layout types read the same.</summary>
/// <remarks>
/// Values are never requantised. Formats of 5, 6, 3 and 2 bits become bytes, and a block carries its factors with it, so that its value costs the kernels
/// few operations and no second read: Q4_K takes 5.5 bits a weight for the file's 4.5, Q5_K 9.5 for 5.5, Q6_K 9 for 6.6, Q3_K 9 for 3.4, Q2_K 9.5 for
/// 2.6, Q5_0 8.5 for 5.5, Q5_1 9 for 6. Formats of tables take 5 (IQ4_NL 4.5), those of three values 8.5, integers of hub folders 9; 8-bit floats
/// become binary32; the others take what the file takes.
/// </remarks>
/// <param name="Codes">How codes are written.</param>
/// <param name="Scales">How scales are written.</param>
/// <param name="CodeWords">Words of a block's codes.</param>
/// <param name="BlockWords">Words of a block of 16 outputs and 32 inputs.</param>
internal sealed record DeviceLayout(CodeKind Codes, ScaleKind Scales, int CodeWords, int BlockWords)
{
    /// <summary><see cref="Float32Layout"/>.</summary>
    public static DeviceLayout Float32 { get; } = new(CodeKind.Float32, ScaleKind.None, Float32Layout.BlockWords, Float32Layout.BlockWords);

    /// <summary>16-bit floats.</summary>
    public static DeviceLayout Halves { get; } = new(CodeKind.Halves, ScaleKind.None, HalfTiles.BlockWords, HalfTiles.BlockWords);

    /// <summary><see cref="CodedLayout{TCodes, TScales}"/>.</summary>
    public static DeviceLayout Coded<TCodes, TScales>() where TCodes : struct, ICodes where TScales : struct, IScales =>
        new(TCodes.Kind, TScales.Kind, TCodes.Words, TCodes.Words + TScales.Words);

    /// <summary>True where weights are floats.</summary>
    public bool IsFloat => Scales == ScaleKind.None;
}
