using System.Runtime.CompilerServices;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Wide loads from shared memory.</summary>
internal static class SharedLoads
{
    /// <summary>16 bytes. The address is a multiple of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("{ .reg .b32 at; cvt.u32.u64 at, {1}; ld.shared.v4.b32 {0}, [at]; }")]
    public static UInt4 Four(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1), C = Unsafe.Add(ref at, 2), D = Unsafe.Add(ref at, 3) };

    /// <summary>8 bytes. The address is a multiple of 8.</summary>
    [IntrinsicImplementation]
    [Ptx("{ .reg .b32 at; cvt.u32.u64 at, {1}; ld.shared.v2.b32 {0}, [at]; }")]
    public static UInt2 Two(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1) };
}
