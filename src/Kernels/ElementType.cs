namespace TpServe.Kernels;

/// <summary>The type of one element of an activation tensor.</summary>
public enum ElementType
{
    /// <summary>IEEE binary32.</summary>
    Float32,

    /// <summary>IEEE binary16.</summary>
    Float16,

    /// <summary>The upper half of a binary32.</summary>
    BFloat16,

    /// <summary>Two's complement, 32 bits: token ids, positions, slots, block numbers.</summary>
    Int32,
}

/// <summary>Facts about an <see cref="ElementType"/>.</summary>
public static class ElementTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int SizeBytes(this ElementType type) => type is ElementType.Float16 or ElementType.BFloat16 ? 2 : 4;
}
