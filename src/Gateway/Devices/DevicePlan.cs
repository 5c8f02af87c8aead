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
    public static DevicePlan Cpu(int degree, string reason) => Same(DeviceWish.Cpu, degree, reason);

    /// <summary>A group whose ranks all compute on the same kind of device, none of them a GPU.</summary>
    internal static DevicePlan Same(string name, int degree, string reason) =>
        new([.. Enumerable.Repeat(new RankDevice(name, null), degree)], reason);
}
