using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>Everything the checks look at, gathered in one place: the checks themselves read no file and ask nobody.</summary>
internal sealed record DoctorFacts
{
    /// <summary>The settings as serve would read them.</summary>
    public GatewayOptions Options { get; init; } = new();

    /// <summary>What is wrong with them.</summary>
    public IReadOnlyList<string> SettingFaults { get; init; } = [];

    /// <summary>Release of this gateway.</summary>
    public string Version { get; init; } = "";

    /// <summary>Where the model lies.</summary>
    public string ModelPath { get; init; } = "";

    /// <summary>The model in one line; empty where it cannot be opened.</summary>
    public string ModelSummary { get; init; } = "";

    /// <summary>Why it cannot be opened.</summary>
    public string ModelFault { get; init; } = "";

    /// <summary>Why the worker's program cannot be started here; empty where it can.</summary>
    public string WorkerProgramFault { get; init; } = "";

    /// <summary>What the worker's program says of this host; null where it was not asked.</summary>
    public HelloReply? Host { get; init; }

    /// <summary>The external workers, by rank.</summary>
    public IReadOnlyList<WorkerAnswer> Workers { get; init; } = [];

    /// <summary>Degree and devices; null where there is no such plan.</summary>
    public DevicePlan? Devices { get; init; }

    /// <summary>Why there is no device plan.</summary>
    public string DeviceFault { get; init; } = "";

    /// <summary>The flag that would do.</summary>
    public string DeviceRemedy { get; init; } = "";

    /// <summary>The whole plan; null where there is none.</summary>
    public GroupPlan? Plan { get; init; }

    /// <summary>Why there is none.</summary>
    public string PlanFault { get; init; } = "";

    /// <summary>Bytes of weights and KV cache over all ranks of the plan.</summary>
    public long GroupBytes { get; init; }

    /// <summary>Memory free on this host.</summary>
    public long FreeHostBytes { get; init; }

    /// <summary>Whether the kernel has NVIDIA device files here.</summary>
    public bool HasNvidiaFiles { get; init; }

    /// <summary>Whether this process runs in a container, as far as one can tell.</summary>
    public bool InContainer { get; init; }

    /// <summary>"ipc:[4026531839]".</summary>
    public string IpcNamespace { get; init; } = "";

    /// <summary>"pid:[4026531836]".</summary>
    public string PidNamespace { get; init; } = "";

    /// <summary>Size of /dev/shm; null where there is none.</summary>
    public long? ShmBytes { get; init; }

    /// <summary>What of it is free.</summary>
    public long ShmFreeBytes { get; init; }

    /// <summary>Most bytes a process may lock in memory; null = no limit.</summary>
    public long? MemoryLockBytes { get; init; }

    /// <summary>Most files a process may have open; null = no limit.</summary>
    public long? OpenFiles { get; init; }

    /// <summary>Cores this process may use at once, the quota rounded up included.</summary>
    public int Cores { get; init; }

    /// <summary>Processor time the cgroup grants, in cores; null = no limit.</summary>
    public double? CpuQuota { get; init; }

    /// <summary>Why the HTTP address cannot be listened on; empty where it can.</summary>
    public string HttpFault { get; init; } = "";

    /// <summary>Why the gRPC address cannot be listened on; empty where it can.</summary>
    public string GrpcFault { get; init; } = "";

    /// <summary>Two ports that are free, for HTTP and for gRPC.</summary>
    public (int Http, int Grpc) SparePorts { get; init; }

    /// <summary>Where the sockets of local workers should go.</summary>
    public string TempFolder { get; init; } = "";

    /// <summary>Where they go; empty where no folder can be made anywhere.</summary>
    public string SocketFolder { get; init; } = "";

    /// <summary>Why no folder for them can be made there; empty where one can.</summary>
    public string TempFault { get; init; } = "";

    /// <summary>Whether Unicode normalisation works, which needs libicu.</summary>
    public bool NormalizesUnicode { get; init; }

    /// <summary>Whether the process runs as root.</summary>
    public bool IsRoot { get; init; }
}
