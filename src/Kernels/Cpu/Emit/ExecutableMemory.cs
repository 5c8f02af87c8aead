using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Machine code in memory that is first writable and then executable, never both.</summary>
/// <remarks>Errors   InvalidOperationException where the system forbids executable memory; <see cref="Isa"/> then offers plain loops only.</remarks>
internal sealed unsafe partial class ExecutableMemory : SafeHandle
{
    private const int ReadWrite = 1 | 2;
    private const int ReadExecute = 1 | 4;
    private const int PrivateAnonymous = 0x02 | 0x20;
    private readonly nuint _length;

    /// <summary>Maps pages, copies the code and makes it executable.</summary>
    public ExecutableMemory(ReadOnlySpan<byte> code)
        : base(-1, ownsHandle: true)
    {
        _length = (nuint)code.Length;
        SetHandle(Map(0, _length, ReadWrite, PrivateAnonymous, -1, 0));
        if (IsInvalid)
            throw new InvalidOperationException($"No memory for {code.Length} bytes of machine code (mmap: error {Marshal.GetLastPInvokeError()}).");
        code.CopyTo(new Span<byte>((void*)handle, code.Length));
        if (Protect(handle, _length, ReadExecute) != 0)
            throw new InvalidOperationException($"Memory cannot be made executable (mprotect: error {Marshal.GetLastPInvokeError()}).");
    }

    /// <summary>Why no code can be made executable here; null where it can.</summary>
    public static string? Fault()
    {
        try
        {
            using ExecutableMemory page = new([0xC3]);
            return null;
        }
        catch (InvalidOperationException fault)
        {
            return fault.Message;
        }
    }

    /// <summary>Address of the first byte.</summary>
    public nint Address => handle;

    /// <inheritdoc/>
    public override bool IsInvalid => handle == -1;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Unmap(handle, _length) == 0;

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nuint length);
}
