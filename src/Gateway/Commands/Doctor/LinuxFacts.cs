using System.Globalization;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>What Linux tells of a process in its files; the parsing is apart from the reading, so that tests can feed texts.</summary>
internal static class LinuxFacts
{
    /// <summary>The IPC namespace the kernel starts with: the host's.</summary>
    public const string FirstIpcNamespace = "ipc:[4026531839]";

    /// <summary>The PID namespace the kernel starts with: the host's.</summary>
    public const string FirstPidNamespace = "pid:[4026531836]";

    /// <summary>The soft limit of one line of /proc/self/limits; null = unlimited, or no such line.</summary>
    public static long? Limit(string limits, string name)
    {
        string? line = limits.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
        string[] values = line?[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return values.Length > 0 && long.TryParse(values[0], CultureInfo.InvariantCulture, out long value) ? value : null;
    }

    /// <summary>Cores that a cpu.max of cgroup v2 grants: "150000 100000" is 1.5; null = "max".</summary>
    public static double? QuotaV2(string cpuMax)
    {
        string[] parts = cpuMax.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return parts.Length == 2 ? Quota(parts[0], parts[1]) : null;
    }

    /// <summary>Cores that the two files of cgroup v1 grant; null = a quota of -1.</summary>
    public static double? QuotaV1(string quota, string period) => Quota(quota.Trim(), period.Trim());

    /// <summary>The path of a controller in /proc/self/cgroup; the empty name is cgroup v2's.</summary>
    public static string? CgroupPath(string cgroups, string controller)
    {
        foreach (string line in cgroups.Split('\n'))
            if (line.Split(':', 3) is [_, string controllers, string path] && controllers.Split(',').Contains(controller))
                return path;
        return null;
    }

    /// <summary>The narrowest quota from this process's group up to the root; null where none limits it.</summary>
    public static double? CpuQuota()
    {
        string cgroups = Read("/proc/self/cgroup");
        double? narrowest = null;
        if (CgroupPath(cgroups, "") is { } unified)
            foreach (string folder in Upwards("/sys/fs/cgroup", unified))
                narrowest = Narrower(narrowest, QuotaV2(Read(Path.Combine(folder, "cpu.max"))));
        if (CgroupPath(cgroups, "cpu") is { } cpu)
            foreach (string folder in Upwards("/sys/fs/cgroup/cpu", cpu))
                narrowest = Narrower(narrowest, QuotaV1(Read(Path.Combine(folder, "cpu.cfs_quota_us")), Read(Path.Combine(folder, "cpu.cfs_period_us"))));
        return narrowest;
    }

    /// <summary>"ipc:[4026531839]"; empty where there is none.</summary>
    public static string Namespace(string kind) => File.ResolveLinkTarget("/proc/self/ns/" + kind, returnFinalTarget: false)?.Name ?? "";

    /// <summary>The text of a file, or nothing where it cannot be read.</summary>
    public static string Read(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllText(path) : "";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>A container's own view may start at its group: then the path does not exist, and the root is the group.</summary>
    private static IEnumerable<string> Upwards(string root, string path)
    {
        for (string? inner = path.Trim('/'); inner is not null; inner = inner.Length == 0 ? null : Path.GetDirectoryName(inner))
            yield return Path.Combine(root, inner);
    }

    private static double? Quota(string quota, string period) =>
        double.TryParse(quota, CultureInfo.InvariantCulture, out double granted) && double.TryParse(period, CultureInfo.InvariantCulture, out double of) && granted > 0 && of > 0
            ? granted / of
            : null;

    private static double? Narrower(double? one, double? other) => one is null ? other : other is null ? one : Math.Min(one.Value, other.Value);
}
