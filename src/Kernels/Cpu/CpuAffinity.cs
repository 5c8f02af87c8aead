using System.Globalization;
using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>Which CPUs this process may use, and binding a thread to some of them.</summary>
/// <remarks>Numbers are the kernel's: in a container the cpuset's, not counted from 0.</remarks>
public static unsafe partial class CpuAffinity
{
    private const int MostCpus = 8192;

    /// <summary>The CPUs this process may use, by NUMA node, then by core, siblings side by side; empty where the system does not say.</summary>
    public static int[] Allowed()
    {
        const string key = "Cpus_allowed_list:";
        string? line = File.Exists("/proc/self/status") ? File.ReadLines("/proc/self/status").FirstOrDefault(text => text.StartsWith(key, StringComparison.Ordinal)) : null;
        return line is null ? [] : [.. Parse(line[key.Length..]).OrderBy(Node).ThenBy(cpu => Number(cpu, "physical_package_id")).ThenBy(cpu => Number(cpu, "core_id")).ThenBy(cpu => cpu)];
    }

    /// <summary>The numbers of a list as the kernel writes it: "0-3,8".</summary>
    internal static IEnumerable<int> Parse(string list)
    {
        foreach (string range in list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] ends = range.Split('-');
            int first = int.Parse(ends[0], CultureInfo.InvariantCulture), last = int.Parse(ends[^1], CultureInfo.InvariantCulture);
            for (int cpu = first; cpu <= last; cpu++)
                yield return cpu;
        }
    }

    /// <summary>Binds the calling thread to these CPUs. False where the system refuses.</summary>
    public static bool Bind(IReadOnlyCollection<int> cpus)
    {
        ArgumentNullException.ThrowIfNull(cpus);
        if (!OperatingSystem.IsLinux() || cpus.Count == 0 || cpus.Any(cpu => (uint)cpu >= MostCpus))
            return false;
        byte* mask = stackalloc byte[MostCpus / 8]; // bit n of the little-endian words is bit n % 8 of byte n / 8
        new Span<byte>(mask, MostCpus / 8).Clear();
        foreach (int cpu in cpus)
            mask[cpu / 8] |= (byte)(1 << (cpu % 8));
        return SetAffinity(0, MostCpus / 8, mask) == 0;
    }

    private static int Node(int cpu)
    {
        string folder = string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{cpu}");
        string? node = Directory.Exists(folder) ? Directory.EnumerateDirectories(folder, "node*").FirstOrDefault() : null;
        return node is not null && int.TryParse(Path.GetFileName(node).AsSpan(4), CultureInfo.InvariantCulture, out int number) ? number : 0;
    }

    private static int Number(int cpu, string fact)
    {
        string file = string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{cpu}/topology/{fact}");
        return File.Exists(file) && int.TryParse(File.ReadAllText(file), CultureInfo.InvariantCulture, out int number) ? number : 0;
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nuint bytes, byte* mask);
}
