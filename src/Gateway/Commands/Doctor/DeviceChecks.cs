using System.Globalization;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>What the workers can compute on, and whether they can reach each other's memory. Pure functions of the facts.</summary>
internal static class DeviceChecks
{
    /// <summary>The GPUs of each host that was asked; null where none could be.</summary>
    public static Finding? Gpus(DoctorFacts facts)
    {
        const string Check = "gpus";
        HelloReply[] hosts = Hosts(facts);
        if (hosts.Length == 0)
            return null;
        DeviceWish wish = facts.Options.Device;
        HelloReply[] without = [.. hosts.Where(host => !DevicePlanner.Usable(host).Any())];
        if (without.Length == 0)
            return Finding.Ok(Check, string.Join("; ", hosts.Select(Describe).Distinct()) + ".");
        string reason = DevicePlanner.WhyNone(without[0]);
        bool wanted = wish.Kind == DeviceKind.Cuda;
        if (wanted)
            return Finding.Fail(Check, $"No GPU: {reason}.", GpuFix(facts, reason));
        if (!wish.NeedsSurvey)
            return Finding.Ok(Check, $"No GPU: {reason}; none is asked for by --device {wish.Text}.");
        return facts.HasNvidiaFiles || !IsNoDriver(reason)
            ? Finding.Warn(Check, $"No GPU: {reason}; the CPU is used.", GpuFix(facts, reason))
            : Finding.Ok(Check, $"No GPU: {reason}; the CPU is used.");
    }

    /// <summary>Degree and device of each rank; null where other findings come first.</summary>
    public static Finding? Placement(DoctorFacts facts)
    {
        const string Check = "devices";
        if (facts.Devices is { } devices)
            return Finding.Ok(Check, $"{devices.Reason}: {(devices.OnGpus || devices.Degree == 1
                ? string.Join(", ", devices.Ranks.Select((device, rank) => string.Create(CultureInfo.InvariantCulture, $"rank {rank} on {device.Name}")))
                : $"all {devices.Degree} ranks on {devices.Ranks[0].Name}")}.");
        return facts.DeviceFault.Length > 0 ? Finding.Fail(Check, facts.DeviceFault, facts.DeviceRemedy) : null;
    }

    /// <summary>The widest path of the workers; null where none could be asked.</summary>
    public static Finding? InstructionSets(DoctorFacts facts)
    {
        const string Check = "instruction set";
        InstructionSet[] paths = [.. Hosts(facts).Select(host => host.Isa).Where(isa => isa != InstructionSet.Unspecified).Distinct()];
        if (paths.Length == 0)
            return null;
        string words = string.Join(", ", paths.Select(Words.InstructionSets.Of));
        string text = paths.Length == 1 ? $"{words}." : $"{words}; each worker uses its own, with the same bits.";
        if (Hosts(facts).Select(host => host.IsaFault).FirstOrDefault(fault => fault.Length > 0) is { } forbidden)
            return Finding.Warn(Check, $"{text} {forbidden} The CPU computes in plain loops, many times slower.", "allow executable memory: a security module or MemoryDenyWriteExecute= forbids it");
        return paths.Contains(InstructionSet.Scalar) && facts.Devices is not { OnGpus: true }
            ? Finding.Warn(Check, $"{text} Without AVX2, or dot products on arm64, the CPU computes in plain loops.", "run on a processor, or a virtual machine's CPU type (host), that has AVX2 (on arm64: Armv8.2 with dot products)")
            : Finding.Ok(Check, text);
    }

    public static Finding IpcNamespace(DoctorFacts facts) =>
        Namespace(facts, "ipc namespace", facts.IpcNamespace, LinuxFacts.FirstIpcNamespace, reply => reply.IpcNamespace, "ipc");

    public static Finding PidNamespace(DoctorFacts facts) =>
        Namespace(facts, "pid namespace", facts.PidNamespace, LinuxFacts.FirstPidNamespace, reply => reply.PidNamespace, "pid");

    /// <summary>Whether GPUs may reach each other's memory; null where other findings come first.</summary>
    public static Finding? CudaIpc(DoctorFacts facts)
    {
        const string Check = "cuda-ipc";
        if (facts.Devices is not { } devices)
            return null;
        Transport wanted = facts.Options.Transport;
        if (wanted is Transport.Shm or Transport.Ring or Transport.Hosted)
            return Finding.Ok(Check, $"Not used: --transport is {Words.Transports.Of(wanted)}.");
        if (devices.Degree == 1)
            return Finding.Ok(Check, "Not needed by one worker.");
        string? why = !devices.OnGpus ? $"the workers do not compute on GPUs ({devices.Reason})"
            : Hosts(facts).Select(host => host.HostId).Distinct().Count() > 1 ? "the workers are on several hosts, or do not share a namespace"
            : null;
        if (why is null)
            return Finding.Ok(Check, wanted == Transport.CudaIpc
                ? "GPUs of one host. Each pair is proved at the start, which fails where one cannot reach the other."
                : "GPUs of one host. Each pair is proved at the start; where one cannot reach the other, another transport is used.");
        return wanted == Transport.CudaIpc
            ? Finding.Fail(Check, $"--transport cuda-ipc is not to be had: {why}.", "--transport auto")
            : Finding.Ok(Check, $"Not used: {why}.");
    }

    /// <summary>Workers this gateway starts share its namespaces; containers of one host share them only where they are told to.</summary>
    private static Finding Namespace(DoctorFacts facts, string check, string own, string first, Func<HelloReply, string> of, string option)
    {
        HelloReply[] external = [.. facts.Workers.Where(worker => worker.Reply is not null).Select(worker => worker.Reply!)];
        if (external.Length == 0)
            return Finding.Ok(check, own.Length == 0 ? "The system has none." : $"{own}, {Whose(own, first)}; local workers share it.");
        foreach (IGrouping<string, HelloReply> host in external.GroupBy(reply => reply.Machine()))
            if (host.Select(of).Distinct().ToArray() is { Length: > 1 } several)
                return Finding.Warn(
                    check,
                    $"Workers of one host are in {several.Length} namespaces ({string.Join(", ", several)}): neither CUDA IPC nor shared memory reaches over, and the ring is used.",
                    $"{option}: \"service:worker-0\"   (or {option}: host) on each worker's service");
        return Finding.Ok(check, $"Workers of one host share it: {string.Join(", ", external.Select(of).Distinct().Select(name => $"{name}, {Whose(name, first)}"))}.");
    }

    private static string Whose(string name, string first) => name == first ? "the host's" : "a container's";

    private static HelloReply[] Hosts(DoctorFacts facts) =>
        facts.Options.Workers.Count > 0 ? [.. facts.Workers.Where(worker => worker.Reply is not null).Select(worker => worker.Reply!)]
        : facts.Host is { } host ? [host]
        : [];

    private static string Describe(HelloReply host)
    {
        string gpus = string.Join(", ", host.Gpus.Select(gpu => string.Create(CultureInfo.InvariantCulture,
            $"cuda:{gpu.Ordinal} {gpu.Name} with {Amounts.Bytes(gpu.FreeBytes)} of {Amounts.Bytes(gpu.TotalBytes)} free")));
        return $"{gpus}; CUDA {host.CudaVersion}";
    }

    private static bool IsNoDriver(string reason) => reason.EndsWith("was not found", StringComparison.Ordinal);

    /// <summary>What to do about the driver's usual refusals; the numbers are CUresult's.</summary>
    private static string GpuFix(DoctorFacts facts, string reason)
    {
        if (IsNoDriver(reason))
            return !facts.InContainer ? "install the NVIDIA driver: libcuda.so.1 is part of it"
                : facts.HasNvidiaFiles ? "environment: {NVIDIA_DRIVER_CAPABILITIES: \"compute,utility\"}"
                : "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}}   (docker run --gpus all)";
        if (reason.Contains("(100)", StringComparison.Ordinal))
            return facts.InContainer ? "environment: {NVIDIA_VISIBLE_DEVICES: all}, and CUDA_VISIBLE_DEVICES unset" : "unset CUDA_VISIBLE_DEVICES, and see what nvidia-smi says";
        if (reason.Contains("(802)", StringComparison.Ordinal))
            return "systemctl start nvidia-fabricmanager";
        if (reason.Contains("(803)", StringComparison.Ordinal))
            return "restart the host: the driver's kernel module and its library are of different releases";
        return "see what nvidia-smi says on the host, or serve with --device cpu";
    }
}
