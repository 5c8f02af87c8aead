using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>How a tile of rows holds its inputs for one kind of weight.</summary>
/// <remarks>
/// Shapes   a tile of R rows, per visited block: R × 32 values; for the integer kind then as[R] float32 scales and, per half of the block, R
///          corrections: int32 −bias · Σa for symmetric weights, float32 ±as · Σa for weights with a minimum.
/// </remarks>
/// <param name="Kind">Type of the 32 values of a row.</param>
/// <param name="Halves">Sums are kept per 16 values where 2.</param>
/// <param name="Correction">Factor on Σa: −bias, or ±1 for minima; 0 for the float kinds.</param>
/// <param name="HasMinimum">The correction is float32 as · Σa instead of an integer.</param>
internal readonly record struct ActivationLayout(ActivationKind Kind, int Halves, int Correction, bool HasMinimum)
{
    /// <summary>Bytes of one row in one visited block.</summary>
    public int RowBytes => Kind switch
    {
        ActivationKind.Float32 => 128,
        ActivationKind.BFloat16 => 64,
        _ => 32 + 4 + (4 * Halves),
    };

    /// <summary>What weights of a format want.</summary>
    public static ActivationLayout Of(PanelFormat format, CpuActivations activations)
    {
        if (activations == CpuActivations.Float32 || format.Codes is CodeLayout.Float32 or CodeLayout.Float16)
            return new ActivationLayout(ActivationKind.Float32, 1, 0, false);
        if (format.Codes == CodeLayout.BFloat16)
            return new ActivationLayout(ActivationKind.BFloat16, 1, 0, false);
        int correction = !format.HasMinimum ? -format.Bias : format.SubtractsMinimum ? -1 : 1;
        return new ActivationLayout(ActivationKind.Int8, format.Halves, correction, format.HasMinimum);
    }
}

/// <summary>Type of the values in an activation tile.</summary>
internal enum ActivationKind
{
    /// <summary>binary32.</summary>
    Float32,

    /// <summary>bfloat16, k even below k odd.</summary>
    BFloat16,

    /// <summary>Signed bytes with one scale per 32.</summary>
    Int8,
}
