using System.Globalization;
using System.Text;
using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>Says what is short where a model has no room.</summary>
internal static class Shortage
{
    /// <summary>What a split in proportion to the devices' memory lacks on each of them.</summary>
    public static ShardingException Of(CostModel costs, PlanLimits limits, bool isProven)
    {
        ModelConfig config = costs.Model.Config;
        int degree = Math.Min(limits.MaxDegree, costs.Devices.Count);
        int[] chosen = [.. Enumerable.Range(0, costs.Devices.Count).OrderByDescending(device => costs.Devices[device].MemoryBytes).ThenBy(device => device).Take(degree).Order()];
        double[] room = [.. chosen.Select(device => Math.Max(1, costs.Devices[device].MemoryBytes - costs.Memory.Always))];
        Partition partition = Partition.Weighted(config, room);
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture,
            $"the model has no room on {(degree == 1 ? "one device" : $"{degree} devices")} with a KV cache of {costs.Memory.KvTokens} tokens{(isProven ? "" : " (as far as was searched)")}: ");
        RankShare[] shares = RankShare.Of(config, partition);
        double short_ = 0;
        for (int rank = 0; rank < degree; rank++)
        {
            DeviceProfile device = costs.Devices[chosen[rank]];
            double total = costs.Memory.Total(shares[rank]), weights = costs.Memory.Weights(shares[rank]), kv = costs.Memory.Kv(shares[rank]), missing = total - device.MemoryBytes;
            if (missing <= 0)
                continue;
            short_ += missing;
            text.Append(CultureInfo.InvariantCulture,
                $"{device.Name} is short of {Size(missing)} (weights {Size(weights)}, KV cache {Size(kv)}, scratch {Size(total - weights - kv)}; usable {Size(device.MemoryBytes)}), ");
        }
        if (short_ == 0)
            text.Append("whole heads and leaves do not fit beside each other, ");
        text.Append("even split in proportion to memory. Use more or larger devices, fewer bits a weight, or a shorter context or smaller batch.");
        return new ShardingException(text.ToString());

        static string Size(double bytes) => bytes >= 1 << 30 ? $"{bytes / (1 << 30):F1} GiB" : bytes >= 1 << 20 ? $"{bytes / (1 << 20):F1} MiB" : $"{bytes:F0} B";
    }
}
