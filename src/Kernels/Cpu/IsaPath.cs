namespace TpServe.Kernels.Cpu;

/// <summary>Which instructions the matrix products use, narrowest first. All ranks of a group use the same one.</summary>
public enum IsaPath
{
    /// <summary>Plain loops.</summary>
    Scalar,

    /// <summary>AVX2 and FMA intrinsics.</summary>
    Avx2,

    /// <summary>AVX-512 F, BW, DQ, VL intrinsics.</summary>
    Avx512,

    /// <summary>Machine code emitted at start: AVX-512 with VPDPBUSD, and VDPBF16PS where the CPU has it.</summary>
    Avx512Vnni,
}
