using System.Runtime.CompilerServices;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Loads of global memory that this kernel only reads, in the widths a lane streams.</summary>
internal static class StreamLoads
{
    /// <summary>16 bytes that are read once: they take no room in the first cache. The address is a multiple of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.nc.L1::no_allocate.v4.b32 {0}, [{1}];")]
    public static UInt4 Four(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1), C = Unsafe.Add(ref at, 2), D = Unsafe.Add(ref at, 3) };

    /// <summary>8 bytes that are read once. The address is a multiple of 8.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.nc.L1::no_allocate.v2.b32 {0}, [{1}];")]
    public static UInt2 Two(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1) };

    /// <summary>16 bytes that other warps of the multiprocessor read too. The address is a multiple of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.nc.v4.b32 {0}, [{1}];")]
    public static UInt4 FourShared(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1), C = Unsafe.Add(ref at, 2), D = Unsafe.Add(ref at, 3) };

    /// <summary>8 bytes that other warps of the multiprocessor read too. The address is a multiple of 8.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.nc.v2.b32 {0}, [{1}];")]
    public static UInt2 TwoShared(ref uint at) => new() { A = at, B = Unsafe.Add(ref at, 1) };
}

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
