using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>Zeroed memory for packed weights; blocks of 4 MiB and more ask for 2 MiB pages.</summary>
/// <remarks>Errors   InsufficientMemoryException where the host has no such block. Whoever allocated it disposes it.</remarks>
internal sealed unsafe partial class WeightMemory : SafeHandle
{
    private const long HugeFrom = 4L << 20;
    private const long HugePage = 2L << 20;
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 0x02 | 0x20;
    private const int HugePageAdvice = 14;
    private static readonly void* MapFailed = (void*)-1;
    private readonly long _mapped;

    /// <summary>Allocates <paramref name="bytes"/> zero bytes, aligned to 64.</summary>
    public WeightMemory(long bytes)
        : base(0, ownsHandle: true)
    {
        Bytes = bytes;
        if (bytes < HugeFrom || !OperatingSystem.IsLinux())
        {
            byte* block = (byte*)NativeMemory.AlignedAlloc((nuint)bytes + 64, 64);
            NativeMemory.Clear(block, (nuint)bytes + 64);
            SetHandle((nint)block);
            Pointer = block;
            return;
        }
        _mapped = bytes + HugePage + 64;
        void* mapping = Map(null, (nuint)_mapped, ReadWrite, PrivateAnonymous, -1, 0);
        if (mapping == MapFailed)
            throw new InsufficientMemoryException($"No {bytes} bytes for a weight matrix (mmap: error {Marshal.GetLastPInvokeError()}).");
        SetHandle((nint)mapping);
        Pointer = (byte*)(((long)mapping + HugePage - 1) / HugePage * HugePage);
        // Advice only: a kernel without transparent huge pages refuses, and ordinary pages serve as well.
        _ = Advise(Pointer, (nuint)(bytes / HugePage * HugePage), HugePageAdvice);
    }

    /// <summary>The first byte.</summary>
    public byte* Pointer { get; }

    /// <summary>Usable bytes.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (_mapped != 0)
            return Unmap((void*)handle, (nuint)_mapped) == 0;
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
