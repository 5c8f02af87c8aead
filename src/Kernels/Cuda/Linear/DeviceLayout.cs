using TpServe.Kernels.Cpu.Packing;

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
}

/// <summary>The one table of what a file format becomes on the device.</summary>
/// <remarks>
/// Values are never requantised. Formats of 5, 6, 3 and 2 bits become bytes, and a block carries its factors with it, so that its value costs the kernels
/// few operations and no second read: Q4_K takes 5.5 bits a weight for the file's 4.5, Q5_K 9.5 for 5.5, Q6_K 9 for 6.6, Q3_K 9 for 3.4, Q2_K 9.5 for
/// 2.6, Q5_0 8.5 for 5.5, Q5_1 9 for 6; the others take what the file takes.
/// </remarks>
/// <param name="Format">The file's format.</param>
/// <param name="Codes">Its codes on the device.</param>
/// <param name="Scales">Its scales on the device.</param>
/// <param name="Bias">What the packer takes off a file's code.</param>
internal sealed record DeviceLayout(WeightFormat Format, CodeKind Codes, ScaleKind Scales, int Bias)
{
    /// <summary>The layout of a file format.</summary>
    public static DeviceLayout Of(WeightFormat format) => format switch
    {
        WeightFormat.F32 => new(format, CodeKind.Float32, ScaleKind.None, 0),
        WeightFormat.F16 or WeightFormat.BF16 => new(format, CodeKind.Halves, ScaleKind.None, 0),
        WeightFormat.Q4_0 or WeightFormat.IQ4_NL => new(format, CodeKind.Nibbles, ScaleKind.Half, 0),
        WeightFormat.Q4_1 => new(format, CodeKind.Nibbles, ScaleKind.HalfMinimum, 0),
        WeightFormat.Q4_K => new(format, CodeKind.Nibbles, ScaleKind.SixBitMinimum, 0),
        WeightFormat.Q5_0 or WeightFormat.Q8_0 => new(format, CodeKind.Bytes, ScaleKind.Half, PanelFormat.Of(format).Bias),
        WeightFormat.Q5_1 => new(format, CodeKind.Bytes, ScaleKind.HalfMinimum, 0),
        WeightFormat.Q5_K => new(format, CodeKind.Bytes, ScaleKind.SixBitMinimum, 0),
        WeightFormat.Q3_K or WeightFormat.Q6_K => new(format, CodeKind.Bytes, ScaleKind.BytePair, PanelFormat.Of(format).Bias),
        WeightFormat.Q2_K => new(format, CodeKind.Bytes, ScaleKind.NibblePairMinimum, 0),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "unknown weight format"),
    };

    /// <summary>True where weights are floats.</summary>
    public bool IsFloat => Scales == ScaleKind.None;

    /// <summary>Words of a block's codes.</summary>
    public int CodeWords => Codes switch
    {
        CodeKind.Float32 => Float32Layout.BlockWords,
        CodeKind.Halves => HalfTiles.BlockWords,
        CodeKind.Bytes => ByteCodes.Words,
        _ => NibbleWords.Words,
    };

    /// <summary>Words of a block of 16 outputs and 32 inputs.</summary>
    public int BlockWords => CodeWords + Scales switch
    {
        ScaleKind.Half => HalfScales.Words,
        ScaleKind.HalfMinimum => HalfScaleMinimums.Words,
        ScaleKind.SixBitMinimum => SixBitScaleMinimums.Words,
        ScaleKind.BytePair => ByteHalfScales.Words,
        ScaleKind.NibblePairMinimum => NibbleHalfScaleMinimums.Words,
        _ => 0,
    };
}
