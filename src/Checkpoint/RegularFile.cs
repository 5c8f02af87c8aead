using System.Runtime.InteropServices;

namespace TpServe.Checkpoint;

/// <summary>Whether a path leads to a regular file: opening a named pipe waits for a writer who may never come, a socket or device has no content of its own.</summary>
/// <remarks>
/// Source  statx(2), whose structure is the same on every architecture. Where the system has no such call nothing is found wrong: opening the file tells.
/// </remarks>
public static partial class RegularFile
{
    private const int FromWorkingDirectory = -100; // AT_FDCWD
    private const uint TypeWanted = 1; // STATX_TYPE
    private const int ModeAt = 28; // of stx_mode
    private const int StatxBytes = 256;
    private const int AccessDenied = 13, NameTooLong = 36, TooManyLinks = 40;

    /// <summary>What stands at the path instead of a regular file, as it follows its name: "is a named pipe"; null where it is one, or nothing is there.</summary>
    public static string? Fault(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!OperatingSystem.IsLinux())
            return Directory.Exists(path) ? "is a folder" : null;
        Span<byte> status = stackalloc byte[StatxBytes];
        try
        {
            if (Statx(FromWorkingDirectory, path, 0, TypeWanted, ref MemoryMarshal.GetReference(status)) != 0)
                return Marshal.GetLastPInvokeError() switch
                {
                    AccessDenied => "cannot be reached: a folder on the way is closed to this user",
                    NameTooLong => "is longer than a path may be",
                    TooManyLinks => "is a loop of symbolic links",
                    _ => null,
                };
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
        return (BitConverter.ToUInt16(status[ModeAt..]) & 0xF000) switch
        {
            0x1000 => "is a named pipe",
            0x2000 => "is a character device",
            0x4000 => "is a folder",
            0x6000 => "is a block device",
            0xC000 => "is a socket",
            _ => null,
        };
    }

    /// <exception cref="ModelLoadException">Something else stands at the path.</exception>
    internal static void Require(string path)
    {
        if (Fault(path) is { } fault)
            throw new ModelLoadException($"{path}: {fault}; a regular file is needed.");
    }

    // The buffer is StatxBytes long, which is what the kernel writes at most.
    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Statx(int folder, string path, int flags, uint mask, ref byte status);
}
