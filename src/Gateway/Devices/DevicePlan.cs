using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Devices;

/// <summary>The degree, and what each rank computes on. Pure data.</summary>
/// <param name="Ranks">By rank.</param>
/// <param name="Reason">Why: "auto: 2 GPUs found", "auto: no GPU (libcuda.so.1 was not found)".</param>
public sealed record DevicePlan(IReadOnlyList<RankDevice> Ranks, string Reason)
{
    /// <summary>Ranks in the group.</summary>
    public int Degree => Ranks.Count;

    /// <summary>Whether every rank computes on a GPU.</summary>
    public bool OnGpus => Ranks.All(rank => rank.Gpu is not null);

    /// <summary>A group whose ranks all compute on the CPU.</summary>
    public static DevicePlan Cpu(int degree, string reason) => Same(DeviceKind.Cpu, degree, reason);

    /// <summary>A group whose ranks all compute on the same kind of device, none of them a GPU.</summary>
    internal static DevicePlan Same(DeviceKind kind, int degree, string reason) =>
        new([.. Enumerable.Repeat(new RankDevice(kind, null), degree)], reason);
}

/// <summary>What one rank computes on.</summary>
/// <param name="Kind">A GPU, the CPU, or the CUDA kernels on the CPU.</param>
/// <param name="Gpu">The GPU, where it is one.</param>
public sealed record RankDevice(DeviceKind Kind, GpuFacts? Gpu)
{
    /// <summary>A GPU.</summary>
    public static RankDevice OnGpu(GpuFacts gpu) => new(DeviceKind.Cuda, gpu);

    /// <summary>In reports: cpu, cuda-emulated, cuda:0.</summary>
    public string Name => Gpu is null ? Words.Devices.Of(Kind) : string.Create(CultureInfo.InvariantCulture, $"cuda:{Gpu.Ordinal}");

    /// <summary>As the worker is told.</summary>
    public ComputeDevice Message => new() { Kind = Kind, Ordinal = Gpu?.Ordinal ?? 0 };

    /// <summary>In words; <paramref name="host"/> is what the worker says of its processor.</summary>
    public string Describe(string host) => Gpu is null
        ? Kind == DeviceKind.Cpu ? host : $"{Name} on {host}"
        : string.Create(CultureInfo.InvariantCulture, $"{Name} {Gpu.Name}, {Gpu.TotalBytes >> 30} GiB, {Gpu.Uuid}");
}

/// <summary>The wanted devices are not to be had; names what was wanted and what there is. Ends the process at start.</summary>
public sealed class DeviceException(string message, string remedy) : Exception(message)
{
    /// <summary>The flag that would do: "--device cuda:0,cuda:0".</summary>
    public string Remedy { get; } = remedy;
}
