using System.Globalization;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Devices;

/// <summary>What one rank computes on.</summary>
/// <param name="Name">As the worker is told: cpu, cuda-emulated, cuda:0.</param>
/// <param name="Gpu">The GPU, where it is one.</param>
public sealed record RankDevice(string Name, GpuFacts? Gpu)
{
    /// <summary>In words; <paramref name="host"/> is what the worker says of its processor.</summary>
    public string Describe(string host) => Gpu is null
        ? Name == DeviceWish.Cpu ? host : $"{Name} on {host}"
        : string.Create(CultureInfo.InvariantCulture, $"{Name} {Gpu.Name}, {Gpu.TotalBytes >> 30} GiB, {Gpu.Uuid}");
}
