using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace TpServe.Checkpoint;

/// <summary>A whole file mapped for reading.</summary>
/// <remarks>
/// Threads  any thread may read; disposing while another thread reads is the caller's fault, as for any buffer.
/// Errors   <see cref="ModelLoadException"/> where the file cannot be opened or is empty.
/// </remarks>
internal sealed unsafe partial class MappedFile : IDisposable
{
    private const int AdviseDontNeed = 4; // MADV_DONTNEED
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _start;

    private MappedFile(string path, long length, MemoryMappedFile file, MemoryMappedViewAccessor view)
    {
        Path = path;
        Length = length;
        _file = file;
        _view = view;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
        _start += view.PointerOffset;
    }

    public string Path { get; }

    public long Length { get; }

    /// <exception cref="ModelLoadException">It is no regular file, cannot be opened, or is empty.</exception>
    public static MappedFile Open(string path)
    {
        RegularFile.Require(path);
        FileStream? stream = null;
        MemoryMappedFile? file = null;
        try
        {
            // The length comes from the opened handle, so that the mapping and the checks speak of the same file.
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            long length = stream.Length;
            if (length == 0)
                throw new ModelLoadException($"{path}: the file is empty.");
            file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            return new MappedFile(path, length, file, file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read));
        }
        catch (Exception fault)
        {
            file?.Dispose();
            stream?.Dispose();
            if (fault is IOException or UnauthorizedAccessException)
                throw new ModelLoadException($"{path}: cannot be opened: {fault.Message}", fault);
            throw;
        }
    }

    /// <summary>count bytes from offset; the caller has checked them against Length, this checks again.</summary>
    public ReadOnlySpan<byte> Span(long offset, int count)
    {
        ObjectDisposedException.ThrowIf(_start is null, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - count);
        return new ReadOnlySpan<byte>(_start + offset, count); // inside the mapping, which lives until Dispose sets _start to null
    }

    /// <summary>Lets the system take back the whole pages inside a range.</summary>
    public void Drop(long offset, long count)
    {
        ObjectDisposedException.ThrowIf(_start is null, this);
        if (!OperatingSystem.IsLinux())
            return;
        nuint page = (nuint)Environment.SystemPageSize;
        nuint first = ((nuint)_start + (nuint)offset + page - 1) / page * page;
        nuint end = ((nuint)_start + (nuint)(offset + count)) / page * page;
        if (end > first)
            _ = Advise(first, end - first, AdviseDontNeed); // advice only: refused, the pages stay, and nothing is wrong
    }

    public void Dispose()
    {
        if (_start is null)
            return;
        _start = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nuint address, nuint length, int advice);
}
