using System.Globalization;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Devices;

/// <summary>Decides the degree and the device of every rank from the settings and what the workers see. Pure.</summary>
/// <remarks>
/// 1. cpu, cuda-emulated: nothing to look for. 2. A list: one GPU a rank, as written. 3. cuda and auto: each rank takes the first GPU that none before it
/// took; auto goes to the CPU, all ranks together, where a host has no GPU the kernels run on.
/// </remarks>
internal static class DevicePlanner
{
    /// <summary>Workers where neither --tp, nor --worker, nor GPUs say how many.</summary>
    public const int DefaultDegree = 2;

    /// <summary>Least compute capability the kernels are written for, times ten: from 8.0 on there are bf16 tensor cores and asynchronous copies.</summary>
    public const int LeastCapability = 80;

    /// <param name="options">Checked settings.</param>
    /// <param name="hosts">What the workers see: one answer for all local ones, or one each of the external ones; empty where the settings need none.</param>
    /// <exception cref="DeviceException">What is wanted is not there.</exception>
    public static DevicePlan Create(GatewayOptions options, IReadOnlyList<HelloReply> hosts)
    {
        DeviceWish wish = options.Device;
        if (options.Workers.Count > 0 && options.Tp is { } tp && tp != options.Workers.Count)
            throw new DeviceException($"--tp {tp} does not fit the {options.Workers.Count} given by --worker: their number is the degree.", $"--tp {options.Workers.Count}");
        int? given = options.Workers.Count > 0 ? options.Workers.Count : options.Tp;
        if (!wish.NeedsSurvey)
            return DevicePlan.Same(wish.Kind, given ?? DefaultDegree, $"--device {wish.Text}");
        return wish.List.Count > 0 ? Listed(wish, given, hosts) : Found(wish, given, options.Workers.Count > 0, hosts);
    }

    /// <summary>The GPUs of a host that the kernels run on.</summary>
    public static IEnumerable<GpuFacts> Usable(HelloReply host) => host.Gpus.Where(gpu => gpu.Capability >= LeastCapability);

    /// <summary>Why a host has no such GPU.</summary>
    public static string WhyNone(HelloReply host) => host.Gpus.Count == 0 ? host.GpuReason : TooOld(host.Gpus[0]);

    private static DevicePlan Listed(DeviceWish wish, int? given, IReadOnlyList<HelloReply> hosts)
    {
        if (given is { } degree && degree != wish.List.Count)
            throw new DeviceException($"--device {wish.Text} names {Count(wish.List.Count, "GPU")} for {Count(degree, "worker")}; name one for each worker, the same one again where several share it.",
                "--device " + string.Join(',', Enumerable.Range(0, degree).Select(rank => wish.List[rank % wish.List.Count])));
        RankDevice[] ranks = [.. wish.List.Select((item, rank) => Named(item, rank, HostOf(hosts, rank)))];
        return new DevicePlan(ranks, $"--device {wish.Text}");
    }

    private static RankDevice Named(GpuName item, int rank, HelloReply host)
    {
        GpuFacts? gpu = host.Gpus.FirstOrDefault(item.Names);
        if (gpu is { Capability: < LeastCapability })
            throw new DeviceException($"--device: rank {rank}: {TooOld(gpu)}.", "--device auto");
        return gpu is not null
            ? RankDevice.OnGpu(gpu)
            : throw new DeviceException($"--device: rank {rank} has no {item}; {(host.Gpus.Count == 0 ? $"no GPU is found: {host.GpuReason}" : $"its worker sees {Seen(host)}")}.", "--device auto");
    }

    private static DevicePlan Found(DeviceWish wish, int? given, bool external, IReadOnlyList<HelloReply> hosts)
    {
        // 1. No usable GPU on some host: one group computes on one kind of device.
        for (int host = 0; host < hosts.Count; host++)
            if (!Usable(hosts[host]).Any())
            {
                string why = external ? $"worker {host}: {WhyNone(hosts[host])}" : WhyNone(hosts[host]);
                return wish.Kind == DeviceKind.Unspecified
                    ? DevicePlan.Cpu(given ?? DefaultDegree, $"auto: no GPU ({why})")
                    : throw new DeviceException($"--device {wish.Text}: no GPU ({why}).", "--device cpu");
            }

        // 2. One after the other, each with a GPU of its own. The uuid tells GPUs apart over processes and containers.
        int degree = given ?? Usable(hosts[0]).Count();
        HashSet<string> taken = [];
        List<RankDevice> ranks = [];
        for (int rank = 0; rank < degree; rank++)
        {
            GpuFacts? free = Usable(HostOf(hosts, rank)).FirstOrDefault(gpu => taken.Add(gpu.Uuid));
            if (free is null)
            {
                string shared = string.Join(',', Enumerable.Range(0, degree).Select(i => RankDevice.OnGpu(Usable(HostOf(hosts, i)).ElementAt(i % Usable(HostOf(hosts, i)).Count())).Name));
                throw new DeviceException($"{Count(degree, "worker")}, but rank {rank} finds no GPU of its own: {taken.Count} found ({Seen(HostOf(hosts, rank))}). Lower the degree, use --device cpu, or let workers share a GPU: --device {shared}.", $"--device {shared}");
            }
            ranks.Add(RankDevice.OnGpu(free));
        }
        return new DevicePlan(ranks, degree == taken.Count && given is null ? $"{wish.Text}: {Count(degree, "GPU")} found" : $"{wish.Text}: {Count(degree, "GPU")} for {Count(degree, "worker")}");
    }

    private static string TooOld(GpuFacts gpu) => string.Create(CultureInfo.InvariantCulture,
        $"cuda:{gpu.Ordinal} {gpu.Name} has compute capability {gpu.Capability / 10}.{gpu.Capability % 10}; the kernels need {LeastCapability / 10}.{LeastCapability % 10}");

    private static HelloReply HostOf(IReadOnlyList<HelloReply> hosts, int rank) => hosts[hosts.Count == 1 ? 0 : rank];

    private static string Seen(HelloReply host) => string.Join(", ", host.Gpus.Select(gpu => string.Create(CultureInfo.InvariantCulture, $"cuda:{gpu.Ordinal} {gpu.Name} {gpu.Uuid}")));

    private static string Count(int number, string noun) => string.Create(CultureInfo.InvariantCulture, $"{number} {noun}{(number == 1 ? "" : "s")}");
}
