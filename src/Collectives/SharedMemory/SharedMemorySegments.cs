using System.Globalization;
using System.Runtime.Versioning;

namespace TpServe.Collectives.SharedMemory;

/// <summary>The names of a group's segments, and the sweep for a group that died while it joined.</summary>
/// <remarks>
/// Ranks unlink their segments as soon as all have mapped them, so that a joined group has no names and no crash can leave one behind; only a rank
/// that is killed while joining does. Its gateway sweeps.
/// </remarks>
public static class SharedMemorySegments
{
    private const string Folder = "/dev/shm";
    private const int LongestPrefix = 200;

    /// <summary>True where this transport works: 64-bit Linux with /dev/shm.</summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsSupported { get; } = OperatingSystem.IsLinux() && Environment.Is64BitProcess && Directory.Exists(Folder);

    /// <summary>Deletes the segments that ranks of the group named by <paramref name="prefix"/> have left; how many there were.</summary>
    /// <remarks>Only for a group whose ranks are dead or have failed: a group that is joining would lose its segments.</remarks>
    /// <exception cref="ArgumentException">The prefix is not one that <see cref="SharedMemoryCommunicator.Join"/> takes.</exception>
    public static int RemoveStale(string prefix)
    {
        CheckPrefix(prefix);
        if (!Directory.Exists(Folder))
            return 0;
        int removed = 0;
        foreach (string path in Directory.EnumerateFiles(Folder, prefix + ".*"))
        {
            // "a.*" also finds a.b.0, which belongs to the prefix a.b.
            ReadOnlySpan<char> suffix = path.AsSpan(Folder.Length + 1 + prefix.Length + 1);
            if (suffix.IsEmpty || suffix.ContainsAnyExceptInRange('0', '9'))
                continue;
            File.Delete(path);
            removed++;
        }
        return removed;
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
