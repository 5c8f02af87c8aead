using System.Globalization;
using System.Reflection;

namespace TpServe.Worker;

/// <summary>What this host is and has.</summary>
internal static class HostFacts
{
    /// <summary>Equal for processes that can share memory: the host's boot id, its IPC namespace, and the device of /dev/shm.</summary>
    public static string HostId()
    {
        string boot = Read("/proc/sys/kernel/random/boot_id") ?? Environment.MachineName;
        string ipc = File.ResolveLinkTarget("/proc/self/ns/ipc", returnFinalTarget: false)?.Name ?? "";
        string shm = File.Exists("/proc/self/mountinfo")
            ? File.ReadLines("/proc/self/mountinfo").Where(line => line.Contains(" /dev/shm ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).LastOrDefault() ?? ""
            : "";
        return $"{boot}/{ipc}/{shm}";
    }

    /// <summary>The processor's name and the number of cores this process may use.</summary>
    public static string Device()
    {
        string name = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? "cpu"
            : "cpu";
        return string.Create(CultureInfo.InvariantCulture, $"cpu {name}, {Environment.ProcessorCount} cores");
    }

    /// <summary>This release.</summary>
    public static string Version() =>
        typeof(HostFacts).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    private static string? Read(string path) => File.Exists(path) ? File.ReadAllText(path).Trim() : null;
}
