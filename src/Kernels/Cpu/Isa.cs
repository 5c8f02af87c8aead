using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Kernels.Cpu;

/// <summary>What the CPU can execute, and the paths' names in settings and at the handshake.</summary>
public static class Isa
{
    private static readonly string[] Names = ["scalar", "avx2", "avx-vnni", "avx512", "avx512-vnni", "neon"];

    /// <summary>Why emitted code cannot be executed although the CPU could; null where it can, or where the CPU has no AVX2.</summary>
    public static string? Fault { get; } = HasAvx2 ? ExecutableMemory.Fault() : null;

    /// <summary>What this machine can execute, narrowest first.</summary>
    public static IReadOnlyList<IsaPath> Supported { get; } = [.. FindSupported()];

    /// <summary>True where VDPBF16PS exists. Without it bf16 products are the same arithmetic in float32.</summary>
    internal static bool HasBFloat16 { get; } = HasAvx512 && Extended(leaf: 7, subleaf: 1).Eax.HasBit(5);

    // Emitted code follows the System V calling convention and needs mmap: Linux only. F16C comes with AVX2 on every CPU that has it.
    private static bool HasAvx2 =>
        OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64 && Avx2.IsSupported && Fma.IsSupported;

    // The kernels are C#: every system that the runtime knows.
    private static bool HasNeon => AdvSimd.Arm64.IsSupported && Dp.IsSupported;

    private static bool HasAvx512 => Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512BW.VL.IsSupported;

    /// <summary>The widest path this machine has.</summary>
    public static IsaPath Detect() => Supported[^1];

    /// <summary>True where this machine can execute the path.</summary>
    public static bool IsSupported(this IsaPath path) => Supported.Contains(path);

    /// <summary>The path's name: scalar, avx2, avx-vnni, avx512, avx512-vnni or neon.</summary>
    public static string Name(this IsaPath path) => Names[(int)path];

    /// <summary>The path of a name; false for anything but these names.</summary>
    public static bool TryParse(string? name, out IsaPath path)
    {
        int index = Array.IndexOf(Names, name);
        path = (IsaPath)Math.Max(index, 0);
        return index >= 0;
    }

    private static IEnumerable<IsaPath> FindSupported()
    {
        yield return IsaPath.Scalar;
        if (HasNeon)
            yield return IsaPath.Neon;
        if (!HasAvx2 || Fault is not null)
            yield break;
        yield return IsaPath.Avx2;
        if (Extended(leaf: 7, subleaf: 1).Eax.HasBit(4))
            yield return IsaPath.AvxVnni;
        if (!HasAvx512)
            yield break;
        yield return IsaPath.Avx512;
        if (Extended(leaf: 7, subleaf: 0).Ecx.HasBit(11))
            yield return IsaPath.Avx512Vnni;
    }

    private static (int Eax, int Ebx, int Ecx, int Edx) Extended(int leaf, int subleaf) =>
        X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= leaf ? X86Base.CpuId(leaf, subleaf) : default;

    private static bool HasBit(this int register, int bit) => (register >> bit & 1) != 0;
}

/// <summary>Which instructions the matrix products use, narrowest first within an architecture; every path gives the same bits.</summary>
public enum IsaPath
{
    /// <summary>Plain loops.</summary>
    Scalar,

    /// <summary>Emitted code: AVX2, FMA and F16C.</summary>
    Avx2,

    /// <summary>Emitted code: the same with 256-bit VPDPBUSD (AVX-VNNI).</summary>
    AvxVnni,

    /// <summary>Emitted code: AVX-512 F, BW, DQ, VL.</summary>
    Avx512,

    /// <summary>Emitted code: the same with VPDPBUSD, and VDPBF16PS where the CPU has it.</summary>
    Avx512Vnni,

    /// <summary>arm64: intrinsics of Advanced SIMD with dot products (FEAT_DotProd).</summary>
    Neon,
}
