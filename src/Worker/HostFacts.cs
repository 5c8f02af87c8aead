using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using TpServe.Collectives.SharedMemory;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Protos.Worker;

namespace TpServe.Worker;

/// <summary>What this host is and has.</summary>
internal static class HostFacts
{
    // Free memory is what matters of a GPU, and what a rank of this process holds is given back before it loads anew: so the first look stays true.
    private static readonly Lazy<GpuSurvey> Gpus = new(GpuProbe.Find);

    /// <summary>Everything a gateway asks before it decides; process id and ring address are the caller's to add.</summary>
    /// <param name="surveyGpus">Look for GPUs, at the first such call of the process.</param>
    public static HelloReply Describe(bool surveyGpus)
    {
        (int segments, string shmFault) = SharedMemorySegments.Room();
        HelloReply host = new()
        {
            HostId = HostId(),
            Version = Version(),
            Isa = DeviceBackends.Message(Isa.Detect()),
            Isas = { Isa.Supported.Select(DeviceBackends.Message) },
            IsaFault = Isa.Fault ?? "",
            Cpus = { CpuAffinity.Allowed() },
            Device = Device(),
            FreeBytes = HostMemory.FreeBytes(),
            Cores = Environment.ProcessorCount,
            HostCores = HostCores(),
            IpcNamespace = Namespace("ipc"),
            PidNamespace = Namespace("pid"),
            ShmSegments = segments,
            ShmFault = shmFault,
        };
        if (!surveyGpus)
            return host;
        GpuSurvey survey = Gpus.Value;
        host.GpuReason = survey.Reason;
        host.CudaVersion = survey.CudaVersion;
        host.Gpus.AddRange(survey.Gpus.Select(Message));
        return host;
    }

    /// <summary>Equal for processes that can share memory: the host's boot id, its IPC namespace, and the device of /dev/shm.</summary>
    public static string HostId()
    {
        string boot = Read("/proc/sys/kernel/random/boot_id") ?? Environment.MachineName;
        string shm = File.Exists("/proc/self/mountinfo")
            ? File.ReadLines("/proc/self/mountinfo").Where(line => line.Contains(" /dev/shm ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).LastOrDefault() ?? ""
            : "";
        return $"{boot}/{Namespace("ipc")}/{shm}";
    }

    /// <summary>The processor's name and the number of cores this process may use.</summary>
    public static string Device()
    {
        // Linux on arm64 gives no name, only numbers of maker and part.
        string? name = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim()
            : null;
        return string.Create(CultureInfo.InvariantCulture, $"cpu {name ?? RuntimeInformation.ProcessArchitecture.ToString()}, {Environment.ProcessorCount} cores");
    }

    /// <summary>Processors that the kernel runs, those this process may not use included.</summary>
    private static int HostCores()
    {
        int listed = File.Exists("/proc/cpuinfo") ? File.ReadLines("/proc/cpuinfo").Count(line => line.StartsWith("processor", StringComparison.Ordinal)) : 0;
        return Math.Max(listed, Environment.ProcessorCount);
    }

    /// <summary>This release.</summary>
    public static string Version() =>
        typeof(HostFacts).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <summary>"ipc:[4026531839]"; empty where the system has no namespaces.</summary>
    private static string Namespace(string kind) => File.ResolveLinkTarget("/proc/self/ns/" + kind, returnFinalTarget: false)?.Name ?? "";

    private static GpuFacts Message(Gpu gpu) => new()
    {
        Ordinal = gpu.Ordinal,
        Uuid = gpu.Uuid,
        Name = gpu.Name,
        TotalBytes = gpu.TotalBytes,
        FreeBytes = gpu.FreeBytes,
        Capability = gpu.Capability,
        Multiprocessors = gpu.Multiprocessors,
        PciBus = gpu.PciBus,
    };

    private static string? Read(string path) => File.Exists(path) ? File.ReadAllText(path).Trim() : null;
}
