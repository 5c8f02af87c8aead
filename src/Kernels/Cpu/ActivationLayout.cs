namespace TpServe.Kernels.Cpu;

/// <summary>How a tile of rows holds its inputs for one kind of weight.</summary>
/// <remarks>
/// Shapes   a tile of G groups of R rows, per visited block: G times R × 32 values; for the integer kind then as[R] float32 scales and, per half
///          of the block, R corrections of four bytes.
/// </remarks>
/// <param name="Kind">Type of the 32 values of a row.</param>
/// <param name="Halves">Sums are kept per 16 values where 2.</param>
/// <param name="Correction">What the corrections are.</param>
/// <param name="Factor">Factor on Σa: −bias, or ±1 for minima; 0 where there is no correction.</param>
/// <param name="Shape">How rows are cut into groups and tiles.</param>
internal readonly record struct ActivationLayout(ActivationKind Kind, int Halves, CorrectionKind Correction, int Factor, TileShape Shape)
{
    /// <summary>Bytes of one row in one visited block.</summary>
    public int RowBytes => Kind switch
    {
        ActivationKind.Float32 or ActivationKind.RoundedFloat32 => 128,
        ActivationKind.BFloat16 => 64,
        _ => 32 + 4 + (4 * Halves),
    };
}

/// <summary>What the integer kind holds for the offset of the codes or the minimum of the weights.</summary>
internal enum CorrectionKind
{
    /// <summary>Nothing is wanted; four bytes stand unused.</summary>
    None,

    /// <summary>int32: factor · Σa.</summary>
    Sum,

    /// <summary>Two int16: factor · Σa over inputs 0, 1 and over inputs 2, 3 of every four.</summary>
    PairSums,

    /// <summary>float32: factor · as · Σa.</summary>
    Minimum,
}

/// <summary>Type of the values in an activation tile.</summary>
internal enum ActivationKind
{
    /// <summary>binary32.</summary>
    Float32,

    /// <summary>bfloat16, k even below k odd.</summary>
    BFloat16,

    /// <summary>binary32 rounded to bfloat16, subnormals to zero: for kernels that take bf16 products in float32.</summary>
    RoundedFloat32,

    /// <summary>Signed bytes with one scale per 32.</summary>
    Int8,
}
