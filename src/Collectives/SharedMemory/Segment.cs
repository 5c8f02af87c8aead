using System.IO.MemoryMappedFiles;
using System.Runtime.Versioning;
using static TpServe.Collectives.SharedMemory.SegmentLayout;

namespace TpServe.Collectives.SharedMemory;

/// <summary>One rank's mapped segment.</summary>
/// <remarks>
/// Threads  the addresses are valid until Dispose; nobody may use them after it.
/// Errors   <see cref="TransportFailedException"/> where the file cannot be made or is not what it should be.
/// </remarks>
[SupportedOSPlatform("linux")]
internal sealed unsafe class Segment : IDisposable
{
    private const int MostAttempts = 10;
    private const int InUseError = 11; // EWOULDBLOCK: another process has locked the file

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    private Segment(FileStream stream, long bytes)
    {
        // The mapping outlives the descriptor, which this closes with the MemoryMappedFile.
        _file = MemoryMappedFile.CreateFromFile(stream, null, bytes, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: false);
        try
        {
            _view = _file.CreateViewAccessor(0, bytes, MemoryMappedFileAccess.ReadWrite);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
        byte* address = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref address);
        Address = address;
    }

    /// <summary>The first byte; page aligned.</summary>
    public byte* Address { get; private set; }

    /// <summary>Makes and maps this rank's segment, readable by this user alone.</summary>
    public static Segment Create(string path, int rank, int degree, long epoch, int blockBytes)
    {
        long bytes = SegmentBytes(blockBytes);
        bool created = false;
        try
        {
            FileStream stream = CreateFile(path);
            created = true;
            // Written and not just sized: a full /dev/shm is an error here, and would be a SIGBUS at some later store.
            byte[] zeros = new byte[64 << 10];
            for (long written = 0; written < bytes; written += zeros.Length)
                stream.Write(zeros, 0, (int)Math.Min(zeros.Length, bytes - written));

            Segment segment = new(stream, bytes);
            byte* address = segment.Address;
            *(long*)(address + MagicAt) = Magic;
            *(long*)(address + EpochAt) = epoch;
            *(int*)(address + RankAt) = rank;
            *(int*)(address + DegreeAt) = degree;
            *(int*)(address + BlockBytesAt) = blockBytes;
            Volatile.Write(ref *(int*)(address + ReadyAt), 1);
            return segment;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            if (created)
                File.Delete(path);
            throw new TransportFailedException($"The segment {path} of {bytes} bytes cannot be made: {fault.Message}");
        }
    }

    /// <summary>A new file that nobody else made; a stale one in its place is removed, and one that a sweep took for stale before it was locked is made again.</summary>
    private static FileStream CreateFile(string path)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                FileStream stream = new(path, new FileStreamOptions
                {
                    Mode = FileMode.CreateNew,
                    Access = FileAccess.ReadWrite,
                    Share = FileShare.ReadWrite | FileShare.Delete,
                    UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                    BufferSize = 0,
                });
                if (File.Exists(path))
                    return stream;
                stream.Dispose();
            }
            catch (IOException fault) when (attempt < MostAttempts && (fault.HResult == InUseError || SharedMemorySegments.TryRemoveStale(path) || !File.Exists(path)))
            {
                // The way is free now.
            }
        }
    }

    /// <summary>Maps a peer's segment; null while the peer has not finished making it.</summary>
    public static Segment? TryOpen(string path, int rank, int degree, long epoch, int blockBytes)
    {
        long bytes = SegmentBytes(blockBytes);
        FileStream stream;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (IOException fault) when (fault.HResult == InUseError)
        {
            return null; // a sweep looks at it before its maker has locked it: it will be made again
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new TransportFailedException($"The segment {path} of rank {rank} cannot be opened: {fault.Message}");
        }
        if (stream.Length < bytes)
        {
            stream.Dispose();
            return null;
        }
        UnixFileMode mode = File.GetUnixFileMode(stream.SafeFileHandle);
        if (mode != (UnixFileMode.UserRead | UnixFileMode.UserWrite))
        {
            stream.Dispose();
            throw new TransportFailedException($"The segment {path} has mode {mode}; a rank makes it for its user alone.");
        }

        Segment segment = new(stream, bytes);
        byte* address = segment.Address;
        if (Volatile.Read(ref *(int*)(address + ReadyAt)) == 0)
        {
            segment.Dispose();
            return null;
        }
        string found = Identity(*(long*)(address + MagicAt), *(long*)(address + EpochAt), *(int*)(address + RankAt), *(int*)(address + DegreeAt), *(int*)(address + BlockBytesAt));
        string expected = Identity(Magic, epoch, rank, degree, blockBytes);
        if (found != expected)
        {
            segment.Dispose();
            throw new TransportFailedException($"The segment {path} is {found}; expected {expected}.");
        }
        return segment;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        if (Address is null)
            return;
        Address = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }

    /// <summary>Unmaps what nobody disposed: a block may have been computed in when its group was given up.</summary>
    ~Segment()
    {
        if (Address is not null)
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
    }

    private static string Identity(long magic, long epoch, int rank, int degree, int blockBytes) =>
        $"layout {magic:x}, epoch {epoch}, rank {rank} of {degree}, blocks of {blockBytes} bytes";
}
