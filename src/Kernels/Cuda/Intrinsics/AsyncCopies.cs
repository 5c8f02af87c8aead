using System.Runtime.CompilerServices;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Copies from global to shared memory that run beside a thread's arithmetic.</summary>
/// <remarks>A thread sees its own copies after <see cref="WaitAllButOne"/>, and other threads' after a barrier that follows it.</remarks>
internal static class AsyncCopies
{
    /// <summary>Starts a copy of 16 bytes, past the first cache; both addresses are multiples of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("{ .reg .b32 to; cvt.u32.u64 to, {1}; cp.async.cg.shared.global [to], [{2}], 16; }")]
    public static void Copy16(ref uint shared, ref uint global)
    {
        for (int i = 0; i < 4; i++)
            Unsafe.Add(ref shared, i) = Unsafe.Add(ref global, i);
    }

    /// <summary>Makes a batch of the copies this thread started since the last one; it may be empty.</summary>
    [IntrinsicImplementation]
    [Ptx("cp.async.commit_group;")]
    public static void Commit()
    {
    }

    /// <summary>Waits until all batches of this thread but the latest have arrived.</summary>
    [IntrinsicImplementation]
    [Ptx("cp.async.wait_group 1;")]
    public static void WaitAllButOne()
    {
    }

    /// <summary>Waits until all batches of this thread but the two latest have arrived.</summary>
    [IntrinsicImplementation]
    [Ptx("cp.async.wait_group 2;")]
    public static void WaitAllButTwo()
    {
    }
}
