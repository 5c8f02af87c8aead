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
    private const int AdviseWillNeed = 3, AdviseDontNeed = 4; // MADV_WILLNEED, MADV_DONTNEED
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
        nuint page = (nuint)Environment.SystemPageSize;
        nuint first = (At(offset) + page - 1) / page * page;
        nuint end = At(offset + count) / page * page;
        AdvisePages(first, end, AdviseDontNeed);
    }

    /// <summary>Has the system begin to read the pages of a range.</summary>
    public void Expect(long offset, long count)
    {
        nuint page = (nuint)Environment.SystemPageSize;
        AdvisePages(At(offset) / page * page, At(offset + count), AdviseWillNeed);
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

    private nuint At(long offset)
    {
        ObjectDisposedException.ThrowIf(_start is null, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)offset, (ulong)Length, nameof(offset));
        return (nuint)_start + (nuint)offset;
    }

    private static void AdvisePages(nuint first, nuint end, int advice)
    {
        if (end > first && OperatingSystem.IsLinux())
            _ = Advise(first, end - first, advice); // advice only: where it is refused nothing is wrong
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nuint address, nuint length, int advice);
}
