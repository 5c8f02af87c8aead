using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>Zeroed memory that begins on a 2 MiB page and asks for such pages; none is taken before it is touched.</summary>
/// <remarks>
/// Who shares it adds a reference to the handle; it is unmapped when it is disposed and all have released theirs.
/// Errors   InsufficientMemoryException where the host has no such block.
/// </remarks>
internal sealed unsafe partial class HugeMapping : SafeHandle
{
    private const long HugePage = 2L << 20;
    private const int ReadWrite = 1 | 2;
    private const int PrivateAnonymous = 0x02 | 0x20;
    private const int HugePageAdvice = 14;
    private static readonly void* MapFailed = (void*)-1;
    private readonly long _mapped;

    /// <summary>Maps <paramref name="bytes"/> bytes.</summary>
    public HugeMapping(long bytes)
        : base(0, ownsHandle: true)
    {
        _mapped = ((bytes + HugePage - 1) / HugePage * HugePage) + HugePage;
        if (!OperatingSystem.IsLinux())
        {
            void* block = NativeMemory.AllocZeroed((nuint)_mapped);
            SetHandle((nint)block);
            Pointer = Aligned(block);
            return;
        }
        void* mapping = Map(null, (nuint)_mapped, ReadWrite, PrivateAnonymous, -1, 0);
        if (mapping == MapFailed)
            throw new InsufficientMemoryException($"No {bytes} bytes for weights (mmap: error {Marshal.GetLastPInvokeError()}).");
        SetHandle((nint)mapping);
        Pointer = Aligned(mapping);
        // Advice only: a kernel without transparent huge pages refuses, and ordinary pages serve as well. The last page too is a whole one.
        _ = Advise(Pointer, (nuint)((bytes + HugePage - 1) / HugePage * HugePage), HugePageAdvice);
    }

    /// <summary>The first byte.</summary>
    public byte* Pointer { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (OperatingSystem.IsLinux())
            return Unmap((void*)handle, (nuint)_mapped) == 0;
        NativeMemory.Free((void*)handle);
        return true;
    }

    private static byte* Aligned(void* block) => (byte*)(((long)block + HugePage - 1) / HugePage * HugePage);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
