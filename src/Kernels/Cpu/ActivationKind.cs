namespace TpServe.Kernels.Cpu;

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
