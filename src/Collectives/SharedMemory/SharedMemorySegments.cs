using System.Globalization;
using System.Runtime.Versioning;
using TpServe.Sharding;

namespace TpServe.Collectives.SharedMemory;

/// <summary>The names of a group's segments, and the sweep for groups that died while they joined.</summary>
/// <remarks>
/// Ranks unlink their segments as soon as all have mapped them, so that a joined group has no names and no crash can leave one behind; only a rank
/// that is killed while joining does. Whoever has a segment open holds a shared lock on its file, which the kernel drops with the process: a file that can
/// be locked alone belongs to nobody, whatever the process ids in its name have come to mean since.
/// </remarks>
public static class SharedMemorySegments
{
    private const string Folder = "/dev/shm";
    private const string FirstWord = "tpserve-";
    private const int LongestPrefix = 200;

    /// <summary>True where this transport works: 64-bit Linux with /dev/shm.</summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsSupported { get; } = OperatingSystem.IsLinux() && Environment.Is64BitProcess && Directory.Exists(Folder);

    /// <summary>Deletes the segments of this user that no living process has open; how many there were.</summary>
    public static int RemoveStale() => Directory.Exists(Folder) ? Directory.EnumerateFiles(Folder, FirstWord + "*").Count(path => IsSegment(path) && TryRemoveStale(path)) : 0;

    /// <summary>The largest group whose segments /dev/shm takes now, found by making one; and why none, empty where some.</summary>
    public static (int Segments, string Fault) Room()
    {
        if (!IsSupported)
            return (0, $"there is no {Folder}");
        string path = PathOf($"{FirstWord}probe-{Guid.NewGuid():N}", 0);
        long bytes = SegmentBytes(degree: 2);
        try
        {
            using (FileStream probe = new(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.DeleteOnClose, BufferSize = 0 }))
            {
                // Written and not just sized: a limit shows only then. In pieces: every worker does this before anything else, and keeps what it allocates.
                Span<byte> zeros = stackalloc byte[4096];
                zeros.Clear();
                for (long written = 0; written < bytes; written += zeros.Length)
                    probe.Write(zeros[..(int)Math.Min(zeros.Length, bytes - written)]);
            }
            DriveInfo folder = new(Folder);
            if (folder.TotalSize == 0)
                return (int.MaxValue, ""); // a limit of 0 is none
            int degree = Partition.MaxDegree;
            while (degree > 1 && degree * SegmentBytes(degree) > folder.AvailableFreeSpace)
                degree--;
            return (degree, "");
        }
        catch (IOException) when (RemoveStale() > 0)
        {
            return Room(); // what dead groups have left took the room
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            string reason = fault.Message.Split(" : '")[0]; // the runtime adds the path, which nobody knows
            return (0, string.Create(CultureInfo.InvariantCulture, $"{Folder} takes no segment of {bytes} bytes: {reason.TrimEnd('.')}"));
        }
    }

    private static long SegmentBytes(int degree) => SegmentLayout.SegmentBytes(SharedMemoryCommunicator.DefaultBlockBytes(degree));

    /// <summary>Deletes a segment that no living process has open; false where one has, or another user's.</summary>
    internal static bool TryRemoveStale(string path)
    {
        try
        {
            // The runtime locks what it opens: exclusively with FileShare.None, shared otherwise. Deleted while the lock is held, so that who waits for the lock
            // to open the file finds it gone.
            using FileStream alone = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            File.Delete(path);
            return true;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return false; // in use, another user's, or gone
        }
    }

    private static bool IsSegment(string path)
    {
        int dot = path.LastIndexOf('.');
        return dot > 0 && dot + 1 < path.Length && !path.AsSpan(dot + 1).ContainsAnyExceptInRange('0', '9');
    }

    /// <summary>The file of a rank's segment while its group joins.</summary>
    internal static string PathOf(string prefix, int rank) => string.Create(CultureInfo.InvariantCulture, $"{Folder}/{prefix}.{rank}");

    /// <summary>A prefix becomes part of a file name: letters, digits, '-', '_' and '.', not beginning with '.'.</summary>
    internal static void CheckPrefix(string prefix)
    {
        ArgumentException.ThrowIfNullOrEmpty(prefix);
        bool clean = prefix[0] != '.' && prefix.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
        if (!clean || prefix.Length > LongestPrefix)
            throw new ArgumentException($"'{prefix}' cannot name segments: at most {LongestPrefix} of A-Z a-z 0-9 - _ . and no leading '.'.", nameof(prefix));
    }
}
