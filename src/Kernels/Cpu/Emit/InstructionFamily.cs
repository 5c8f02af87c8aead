namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Which vector instructions emitted kernels may use: all that tells one kind of x86-64 CPU from another here.</summary>
/// <param name="VectorBytes">64: AVX-512 F, BW, DQ, VL, 32 registers; 32: AVX2, FMA, F16C, 16 registers.</param>
/// <param name="HasVnni">VPDPBUSD, in the encoding of the width: AVX512_VNNI or AVX-VNNI.</param>
/// <param name="HasBFloat16">VDPBF16PS (AVX512_BF16).</param>
internal sealed record InstructionFamily(int VectorBytes, bool HasVnni, bool HasBFloat16)
{
    /// <summary>True with 64-byte vectors.</summary>
    public bool IsWide => VectorBytes == 64;

    /// <summary>Dwords of a vector: outputs of an integer panel, or of a float one, side by side.</summary>
    public int Lanes => VectorBytes / 4;

    /// <summary>
    /// How far ahead a one-row kernel prefetches its own panel. The narrow families gain 10 to 20 % by it; on the CPUs with wide ones the
    /// hardware's prefetchers are better left alone.
    /// </summary>
    public int OneRowPrefetchBytes => IsWide ? 0 : 2048;

    /// <summary>The family of a path; null where its kernels are not emitted.</summary>
    public static InstructionFamily? Of(IsaPath path) => path switch
    {
        IsaPath.Avx2 => new InstructionFamily(32, false, false),
        IsaPath.AvxVnni => new InstructionFamily(32, true, false),
        IsaPath.Avx512 => new InstructionFamily(64, false, false),
        IsaPath.Avx512Vnni => new InstructionFamily(64, true, Isa.HasBFloat16),
        _ => null,
    };
}
