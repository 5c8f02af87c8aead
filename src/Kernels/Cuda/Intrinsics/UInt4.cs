using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Four 32-bit registers, 16 bytes of memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UInt4
{
    /// <summary>The lowest word.</summary>
    public uint A;

    /// <summary>The second word.</summary>
    public uint B;

    /// <summary>The third word.</summary>
    public uint C;

    /// <summary>The highest word.</summary>
    public uint D;
}
