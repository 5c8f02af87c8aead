namespace TpServe.Ptx;

/// <summary>The fundamental types of PTX.</summary>
internal enum PtxType
{
    Pred, B8, B16, B32, B64, B128, U8, U16, U32, U64, S8, S16, S32, S64, F16, F16x2, Bf16, Bf16x2, Tf32, F32, F64,
}

/// <summary>Names and sizes of the types.</summary>
internal static class PtxTypes
{
    private static readonly Dictionary<string, PtxType> Names =
        Enum.GetValues<PtxType>().ToDictionary(type => type.ToString().ToLowerInvariant(), type => type);

    public static bool TryParse(string name, out PtxType type) => Names.TryGetValue(name, out type);

    public static int Bits(this PtxType type) => type switch
    {
        PtxType.Pred => 1,
        PtxType.B8 or PtxType.U8 or PtxType.S8 => 8,
        PtxType.B16 or PtxType.U16 or PtxType.S16 or PtxType.F16 or PtxType.Bf16 => 16,
        PtxType.B64 or PtxType.U64 or PtxType.S64 or PtxType.F64 => 64,
        PtxType.B128 => 128,
        _ => 32,
    };

    public static int Bytes(this PtxType type) => Math.Max(1, type.Bits() / 8);

    public static bool IsSigned(this PtxType type) => type is PtxType.S8 or PtxType.S16 or PtxType.S32 or PtxType.S64;

    public static bool IsFloat(this PtxType type) => type >= PtxType.F16;

    /// <summary>All bits of the type; what a register of this type may hold.</summary>
    public static ulong Mask(this PtxType type) => type.Bits() >= 64 ? ulong.MaxValue : (1UL << type.Bits()) - 1;

    /// <summary>The low bits of value as the type's integer, sign or zero extended to 64 bits.</summary>
    public static ulong Extend(this PtxType type, ulong value)
    {
        int spare = 64 - Math.Min(64, type.Bits());
        return type.IsSigned() ? (ulong)((long)(value << spare) >> spare) : value << spare >> spare;
    }
}
