using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Two 32-bit registers, 8 bytes of memory.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UInt2
{
    /// <summary>The lower word.</summary>
    public uint A;

    /// <summary>The higher word.</summary>
    public uint B;
}
