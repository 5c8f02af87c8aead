using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Text;
using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>Gathers what the checks look at: files, ports, the worker's program, the external workers. The one place of the doctor that touches the world.</summary>
internal static class FactGathering
{
    private static readonly TimeSpan WorkerTimeout = TimeSpan.FromSeconds(10);

    public static async Task<DoctorFacts> RunAsync(GatewayOptions options, IReadOnlyList<string> settingFaults, CancellationToken cancellation)
    {
        string limits = LinuxFacts.Read("/proc/self/limits");
        string pid = LinuxFacts.Namespace("pid");
        (long? shmBytes, long shmFree) = SharedMemory();
        DoctorFacts facts = new()
        {
            Options = options,
            SettingFaults = settingFaults,
            Version = typeof(FactGathering).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown",
            ModelPath = EmbeddedModel.PathOr(options.Model),
            FreeHostBytes = DeviceSurvey.RuntimeLimitBytes,
            HasNvidiaFiles = File.Exists("/dev/nvidiactl") || File.Exists("/dev/dxg"),
            InContainer = File.Exists("/.dockerenv") || File.Exists("/run/.containerenv") || (pid.Length > 0 && pid != LinuxFacts.FirstPidNamespace),
            IpcNamespace = LinuxFacts.Namespace("ipc"),
            PidNamespace = pid,
            ShmBytes = shmBytes,
            ShmFreeBytes = shmFree,
            MemoryLockBytes = LinuxFacts.Limit(limits, "Max locked memory"),
            OpenFiles = LinuxFacts.Limit(limits, "Max open files"),
            Cores = Environment.ProcessorCount,
            CpuQuota = LinuxFacts.CpuQuota(),
            HttpFault = Endpoints.Fault(options.Http),
            GrpcFault = Endpoints.Fault(options.Grpc),
            SparePorts = SparePorts(options),
            TempFolder = Path.GetTempPath(),
            TempFault = WorkerFolder.Fault(Path.GetTempPath()) ?? "",
            SocketFolder = WorkerFolder.Roots.FirstOrDefault(root => WorkerFolder.Fault(root) is null) ?? "",
            NormalizesUnicode = NormalizesUnicode(),
            IsRoot = Environment.IsPrivilegedProcess,
        };
        facts = await WithWorkersAsync(facts, cancellation);
        return WithPlan(WithDevices(facts));
    }

    private static async Task<DoctorFacts> WithWorkersAsync(DoctorFacts facts, CancellationToken cancellation)
    {
        if (facts.SettingFaults.Count > 0)
            return facts;
        if (facts.Options.Workers.Count == 0)
        {
            try
            {
                HelloReply host = await DeviceSurvey.LocalAsync(gpus: true, DeviceSurvey.Timeout, cancellation);
                return facts with { Host = host, FreeHostBytes = host.FreeBytes };
            }
            catch (WorkerStartException fault)
            {
                return facts with { WorkerProgramFault = fault.Message };
            }
        }
        string secret = LinuxFacts.Read(facts.Options.SecretFile).Trim();
        LinkSecurity links = LinkSecurity.Read(facts.Options.Tls, facts.Options.InsecureLinks); // a good one: settings are checked
        return facts with { Workers = await Task.WhenAll(facts.Options.Workers.Select(address => AskAsync(address, secret, links, cancellation))) };
    }

    private static async Task<WorkerAnswer> AskAsync(string address, string secret, LinkSecurity links, CancellationToken cancellation)
    {
        using WorkerClient client = new(address, secret, links);
        try
        {
            return new WorkerAnswer(address, await client.HelloAsync(surveyGpus: true, WorkerTimeout, cancellation), "");
        }
        catch (WorkerStartException fault)
        {
            return new WorkerAnswer(address, null, fault.Message);
        }
    }

    private static DoctorFacts WithDevices(DoctorFacts facts)
    {
        HelloReply?[] hosts = facts.Options.Workers.Count > 0 ? [.. facts.Workers.Select(worker => worker.Reply)] : [facts.Host];
        if (facts.SettingFaults.Count > 0 || (hosts.Contains(null) && facts.Options.Device.NeedsSurvey))
            return facts;
        try
        {
            return facts with { Devices = DevicePlanner.Create(facts.Options, [.. hosts.OfType<HelloReply>()]) };
        }
        catch (DeviceException fault)
        {
            return facts with { DeviceFault = fault.Message, DeviceRemedy = fault.Remedy };
        }
    }

    private static DoctorFacts WithPlan(DoctorFacts facts)
    {
        try
        {
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(facts.ModelPath);
            Checkpoint.Config.KnownArchitectures.Require(checkpoint.Config.Architecture);
            using DraftSource? draft = DraftSource.Open(facts.Options.Draft, checkpoint);
            facts = facts with { ModelSummary = ModelSummary.Of(checkpoint) + (draft is null ? "" : $"; draft {ModelSummary.Of(draft.Checkpoint)}") };
            if (facts.Devices is null)
                return facts;
            GroupPlan plan = GroupPlan.Create(
                checkpoint.Config, facts.Options, facts.Devices, facts.FreeHostBytes, facts.Cores, shard => GpuMemory.WeightBytes(checkpoint, shard), draft: draft?.Facts);
            long bytes = Bytes(checkpoint, plan.Shards) + (draft is null ? 0 : Bytes(draft.Checkpoint, plan.Draft!.Shards));
            return facts with { Plan = plan, GroupBytes = bytes };

            long Bytes(ModelCheckpoint model, IReadOnlyList<ShardPlan> shards) => shards.Sum(shard =>
                ShardSizes.WeightBytes(model, shard) + GroupPlan.KvBytesPerToken(model.Config, shard, facts.Options.KvDtype) * plan.KvBlocks * plan.BlockTokens);
        }
        catch (ModelLoadException fault)
        {
            return facts with { ModelFault = fault.Message };
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return facts with { ModelFault = fault.Message };
        }
        catch (ShardingException fault)
        {
            return facts with { PlanFault = fault.Message };
        }
    }

    private static (long? Bytes, long FreeBytes) SharedMemory()
    {
        if (!Directory.Exists("/dev/shm"))
            return (null, 0);
        DriveInfo shm = new("/dev/shm");
        return (shm.TotalSize, shm.AvailableFreeSpace);
    }

    /// <summary>Two different ports that nobody listens on, and that the settings do not name.</summary>
    internal static (int Http, int Grpc) SparePorts(GatewayOptions options)
    {
        string[] taken = [options.Http, options.Grpc];
        List<TcpListener> listeners = []; // held until both are found, or the system might give the same one again
        try
        {
            List<int> ports = [];
            while (ports.Count < 2)
            {
                TcpListener listener = new(IPAddress.Loopback, 0);
                listeners.Add(listener);
                listener.Start();
                int port = ((IPEndPoint)listener.LocalEndpoint).Port;
                if (!taken.Any(address => address.EndsWith(string.Create(CultureInfo.InvariantCulture, $":{port}"), StringComparison.Ordinal)))
                    ports.Add(port);
            }
            return (ports[0], ports[1]);
        }
        finally
        {
            listeners.ForEach(listener => listener.Dispose());
        }
    }

    private static bool NormalizesUnicode()
    {
        try
        {
            return "e\u0301".Normalize(NormalizationForm.FormC) == "\u00e9";
        }
        catch (PlatformNotSupportedException)
        {
            return false;
        }
    }
}
