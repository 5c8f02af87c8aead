using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace TpServe.Kernels.Cpu;

/// <summary>What the CPU can execute, and the paths' names in settings and at the handshake.</summary>
public static class Isa
{
    private static readonly string[] Names = ["scalar", "avx2", "avx512", "avx512-vnni"];

    /// <summary>True where VDPBF16PS exists. Without it the bf16 products of every path follow its arithmetic in intrinsics.</summary>
    internal static bool HasBFloat16 { get; } = Avx512BW.IsSupported && Avx512DQ.IsSupported && Extended(leaf: 7, subleaf: 1).Eax.HasBit(5);

    /// <summary>The widest path this machine has.</summary>
    public static IsaPath Detect()
    {
        if (Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512BW.VL.IsSupported)
        {
            // The emitted code follows the System V calling convention and needs mmap: Linux only.
            bool vnni = Extended(leaf: 7, subleaf: 0).Ecx.HasBit(11);
            bool emits = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;
            return vnni && emits ? IsaPath.Avx512Vnni : IsaPath.Avx512;
        }
        return Avx2.IsSupported && Fma.IsSupported ? IsaPath.Avx2 : IsaPath.Scalar;
    }

    /// <summary>True where this machine can execute the path.</summary>
    public static bool IsSupported(this IsaPath path) => path <= Detect();

    /// <summary>The path's name: scalar, avx2, avx512 or avx512-vnni.</summary>
    public static string Name(this IsaPath path) => Names[(int)path];

    /// <summary>The path of a name; false for anything but the four names.</summary>
    public static bool TryParse(string? name, out IsaPath path)
    {
        int index = Array.IndexOf(Names, name);
        path = (IsaPath)Math.Max(index, 0);
        return index >= 0;
    }

    private static (int Eax, int Ebx, int Ecx, int Edx) Extended(int leaf, int subleaf) =>
        X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= leaf ? X86Base.CpuId(leaf, subleaf) : default;

    private static bool HasBit(this int register, int bit) => (register >> bit & 1) != 0;
}

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
