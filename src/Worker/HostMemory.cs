using System.Globalization;

namespace TpServe.Worker;

/// <summary>Memory that this process can still take: what the kernel says is available, or what is left of a cgroup's limit where that is less.</summary>
/// <remarks>A group's usage counts its page cache; what of it is inactive goes when memory is wanted, so it is free.</remarks>
internal static class HostMemory
{
    private const string CgroupRoot = "/sys/fs/cgroup";

    /// <summary>Bytes, as this machine's files tell; the runtime's limit where there are none.</summary>
    public static long FreeBytes()
    {
        long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return FreeBytes(Read, Available(Read("/proc/meminfo")) ?? limit);
    }

    /// <summary>The least of <paramref name="available"/> and what every group from this process's own up to the root has left.</summary>
    /// <param name="read">The text of a file; empty where there is none.</param>
    /// <param name="available">What the whole machine has, in bytes.</param>
    internal static long FreeBytes(Func<string, string> read, long available)
    {
        foreach (string line in read("/proc/self/cgroup").Split('\n'))
            if (line.Split(':', 3) is [_, string controllers, string path] && (controllers.Length == 0 || controllers.Split(',').Contains("memory")))
                foreach (string group in Upwards(path))
                    available = Math.Min(available, (controllers.Length == 0 ? LeftV2(read, CgroupRoot + group) : LeftV1(read, $"{CgroupRoot}/memory{group}")) ?? available);
        return Math.Max(available, 0);
    }

    /// <summary>MemAvailable in bytes; null where /proc/meminfo has no such line.</summary>
    internal static long? Available(string meminfo) => Field(meminfo, "MemAvailable:") * 1024;

    private static long? LeftV2(Func<string, string> read, string folder) =>
        Number(read(folder + "/memory.max")) - Number(read(folder + "/memory.current")) + (Field(read(folder + "/memory.stat"), "inactive_file") ?? 0);

    private static long? LeftV1(Func<string, string> read, string folder) =>
        Number(read(folder + "/memory.limit_in_bytes")) - Number(read(folder + "/memory.usage_in_bytes")) + (Field(read(folder + "/memory.stat"), "total_inactive_file") ?? 0);

    /// <summary>The groups from this one to the root. A container's own view may start at its group: then the inner paths do not exist, and the root is the group.</summary>
    private static IEnumerable<string> Upwards(string path)
    {
        string group = path.TrimEnd('/');
        for (; group.Length > 0; group = group[..group.LastIndexOf('/')])
            yield return group;
        yield return "";
    }

    /// <summary>The number on the line that starts with a name.</summary>
    private static long? Field(string text, string name)
    {
        foreach (string line in text.Split('\n'))
            if (line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [string first, string value, ..] && first == name)
                return Number(value);
        return null;
    }

    /// <summary>Null for "max" and for a file that does not exist.</summary>
    private static long? Number(string text) => long.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static string Read(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllText(path) : "";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return ""; // a file of a container's own view may exist and yet not be readable
        }
    }
}
