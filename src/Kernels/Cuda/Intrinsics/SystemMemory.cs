using System.Diagnostics;
using ILGPU;
using ILGPU.IR.Intrinsics;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Memory by its address, this device's or one that others share: plain accesses, and the ordered ones with which devices and the host signal each other.</summary>
/// <remarks>
/// Acquire and release have system scope: they order against other GPUs and the host. The managed bodies are what the emulated device runs, where
/// every address is the process's own; a waiting load yields there, since more threads wait than there are cores.
/// Safety   every address comes from the host, which owns the block it points into and outlives the launch.
/// Branches ILGPU takes what an intrinsic returns for the same in all threads, and would mark a branch on it as uniform. What two threads may see
///          differently therefore has <see cref="NoBits"/> added, which depends on the thread and is always zero.
/// Source   PTX ISA, "Memory Consistency Model".
/// </remarks>
public static unsafe class SystemMemory
{
    /// <summary>A word that another device or the host publishes.</summary>
    public static int Acquire(long address) => AcquireRaw(address) | NoBits;

    /// <summary>Two words that another device publishes as one.</summary>
    public static long AcquireLong(long address) => AcquireLongRaw(address) | (long)NoBits;

    /// <summary>Adds to a word of this device's memory and returns what it was.</summary>
    public static int FetchAdd(long address, int value) => FetchAddRaw(address, value) | NoBits;

    /// <summary>Puts <paramref name="value"/> where <paramref name="expected"/> is, in this device's memory, and returns what was there.</summary>
    public static int CompareExchange(long address, int expected, int value) => CompareExchangeRaw(address, expected, value) | NoBits;

    /// <summary>Nanoseconds of a clock that never stops; it ticks about once a microsecond.</summary>
    public static long Nanoseconds() => NanosecondsRaw() | (long)NoBits;

    private static int NoBits => Group.IdxX >> 31;

    [IntrinsicImplementation]
    [Ptx("ld.acquire.sys.global.b32 {0}, [{1}];")]
    private static int AcquireRaw(long address)
    {
        Thread.Yield();
        return Volatile.Read(ref *(int*)address);
    }

    [IntrinsicImplementation]
    [Ptx("ld.acquire.sys.global.b64 {0}, [{1}];")]
    private static long AcquireLongRaw(long address)
    {
        Thread.Yield();
        return Volatile.Read(ref *(long*)address);
    }

    /// <summary>Publishes everything this thread wrote or, by a group barrier, learned of before.</summary>
    [IntrinsicImplementation]
    [Ptx("st.release.sys.global.b32 [{1}], {2};")]
    public static void Release(long address, int value) => Volatile.Write(ref *(int*)address, value);

    /// <summary>As <see cref="Release"/>, with two words as one.</summary>
    [IntrinsicImplementation]
    [Ptx("st.release.sys.global.b64 [{1}], {2};")]
    public static void ReleaseLong(long address, long value) => Volatile.Write(ref *(long*)address, value);

    /// <summary>A word.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.b32 {0}, [{1}];")]
    public static int Load(long address) => *(int*)address;

    /// <summary>Two words; the address is a multiple of 8.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.b64 {0}, [{1}];")]
    public static long LoadLong(long address) => *(long*)address;

    /// <summary>Four words; the address is a multiple of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("ld.global.v4.b32 {0}, [{1}];")]
    public static UInt4 LoadWords(long address) => *(UInt4*)address;

    /// <summary>A word.</summary>
    [IntrinsicImplementation]
    [Ptx("st.global.b32 [{1}], {2};")]
    public static void Store(long address, int value) => *(int*)address = value;

    /// <summary>Two words; the address is a multiple of 8.</summary>
    [IntrinsicImplementation]
    [Ptx("st.global.b64 [{1}], {2};")]
    public static void StoreLong(long address, long value) => *(long*)address = value;

    /// <summary>Four words; the address is a multiple of 16.</summary>
    [IntrinsicImplementation]
    [Ptx("st.global.v4.b32 [{1}], {2};")]
    public static void StoreWords(long address, UInt4 value) => *(UInt4*)address = value;

    [IntrinsicImplementation]
    [Ptx("atom.global.add.u32 {0}, [{1}], {2};")]
    private static int FetchAddRaw(long address, int value) => Interlocked.Add(ref *(int*)address, value) - value;

    [IntrinsicImplementation]
    [Ptx("atom.global.cas.b32 {0}, [{1}], {2}, {3};")]
    private static int CompareExchangeRaw(long address, int expected, int value) => Interlocked.CompareExchange(ref *(int*)address, value, expected);

    [IntrinsicImplementation]
    [Ptx("mov.u64 {0}, %globaltimer;")]
    private static long NanosecondsRaw() => (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency));
}
