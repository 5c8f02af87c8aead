using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Which CPUs there are to interpret, and what this machine's can do.</summary>
internal static class HostFeatures
{
    /// <summary>AVX2 with fused multiply-add and half conversions.</summary>
    public static readonly CpuidFeature[] Avx2 = [CpuidFeature.AVX, CpuidFeature.AVX2, CpuidFeature.FMA, CpuidFeature.F16C];

    /// <summary>The same with VEX byte dot products.</summary>
    public static readonly CpuidFeature[] AvxVnni = [.. Avx2, CpuidFeature.AVX_VNNI];

    /// <summary>AVX-512 without VNNI.</summary>
    public static readonly CpuidFeature[] Avx512 = [.. Avx2, CpuidFeature.AVX512F, CpuidFeature.AVX512BW, CpuidFeature.AVX512DQ, CpuidFeature.AVX512VL];

    /// <summary>AVX-512 with byte dot products.</summary>
    public static readonly CpuidFeature[] Avx512Vnni = [.. Avx512, CpuidFeature.AVX512_VNNI];

    /// <summary>The same with bfloat16 dot products.</summary>
    public static readonly CpuidFeature[] Avx512BFloat16 = [.. Avx512Vnni, CpuidFeature.AVX512_BF16];

    /// <summary>True where this machine executes emitted code at all.</summary>
    public static bool RunsCode => OperatingSystem.IsLinux() && X86Base.X64.IsSupported && Avx.IsSupported;

    /// <summary>True where this machine has zmm and mask registers.</summary>
    public static bool HasAvx512 => Has(CpuidFeature.AVX512F) && Has(CpuidFeature.AVX512BW);

    /// <summary>True where the CPU and the system have a feature; false for those that nothing here needs.</summary>
    public static bool Has(CpuidFeature feature) => feature switch
    {
        CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.X64 => true,
        CpuidFeature.AVX => Avx.IsSupported,
        CpuidFeature.AVX2 => System.Runtime.Intrinsics.X86.Avx2.IsSupported,
        CpuidFeature.FMA => Fma.IsSupported,
        CpuidFeature.F16C => Avx.IsSupported && Bit(Leaf(1, 0).Ecx, 29),
        CpuidFeature.AVX512F => Avx512F.IsSupported,
        CpuidFeature.AVX512BW => Avx512BW.IsSupported,
        CpuidFeature.AVX512DQ => Avx512DQ.IsSupported,
        CpuidFeature.AVX512VL => Avx512F.VL.IsSupported,
        CpuidFeature.AVX512_VNNI => Avx512F.IsSupported && Bit(Leaf(7, 0).Ecx, 11),
        CpuidFeature.AVX512_BF16 => Avx512F.IsSupported && Bit(Leaf(7, 1).Eax, 5),
        CpuidFeature.AVX_VNNI => System.Runtime.Intrinsics.X86.Avx2.IsSupported && Bit(Leaf(7, 1).Eax, 4),
        _ => false,
    };

    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf(int leaf, int subleaf) => X86Base.CpuId(0, 0).Eax >= leaf ? X86Base.CpuId(leaf, subleaf) : default;

    private static bool Bit(int register, int bit) => (register >> bit & 1) != 0;
}
