using TpServe.Checkpoint.Config;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>What is decided before a worker starts: who owns what, and how much context and KV cache the group holds. Pure data.</summary>
/// <param name="Partition">Boundaries of heads, leaves and vocabulary.</param>
/// <param name="Shards">Each rank's plan, by rank.</param>
/// <param name="MaxModelLen">Longest context in tokens.</param>
/// <param name="KvBlocks">KV blocks of every layer.</param>
/// <param name="BlockTokens">Tokens of a block.</param>
/// <param name="Threads">Compute threads of each worker; 0 = the cores of its host divided by the workers on it, which is known when they answer.</param>
/// <param name="Devices">What each rank computes on.</param>
public sealed record GroupPlan(Partition Partition, IReadOnlyList<ShardPlan> Shards, int MaxModelLen, int KvBlocks, int BlockTokens, int Threads, DevicePlan Devices)
{
    /// <summary>Most workers that are started on one host, however few cores it has.</summary>
    public const int FewestLocalWorkersAllowed = 8;

    /// <summary>Ranks in the group.</summary>
    public int Degree => Partition.Degree;

    /// <summary>Plans a group.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="devices">Degree and device of each rank.</param>
    /// <param name="freeBytes">Memory free on this host.</param>
    /// <param name="cores">Cores of this host.</param>
    /// <param name="weightBytes">Bytes of a shard's weights.</param>
    /// <exception cref="Checkpoint.ModelLoadException">The architecture is not supported.</exception>
    /// <exception cref="ShardingException">Degree, weights or context do not fit the model or the host; names value and limit.</exception>
    public static GroupPlan Create(ModelConfig config, GatewayOptions options, DevicePlan devices, long freeBytes, int cores, Func<ShardPlan, long> weightBytes)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(devices);
        ArgumentNullException.ThrowIfNull(weightBytes);
        KnownArchitectures.Require(config.Architecture);
        bool local = options.Workers.Count == 0;
        int degree = devices.Degree;
        int most = local && !devices.OnGpus ? Math.Min(Sharding.Partition.MaxDegree, Math.Max(FewestLocalWorkersAllowed, 2 * cores)) : Sharding.Partition.MaxDegree;
        if (degree < 1 || degree > most)
            throw new ShardingException($"tensor parallel degree {degree} is not in 1..{most}{(local && !devices.OnGpus ? $" (this host has {cores} cores)" : "")}.");

        Partition partition = options.Partition.Count == 0
            ? Sharding.Partition.Even(config, degree)
            : Sharding.Partition.Weighted(config, WeightsOf(options, degree));
        ShardPlan[] shards = [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(config, partition, rank))];

        // KV cache: what the devices hold beside the weights.
        long[] tokenBytes = [.. shards.Select(shard => KvBytesPerToken(config, shard, options.KvDtype))];
        long affordable = devices.OnGpus
            ? GpuMemory.Tokens(devices, options.GpuMemoryUtilization, [.. shards.Select(weightBytes)], tokenBytes, shards.Max(shard => shard.LocalKvHeads) * config.HeadDim)
            : HostTokens(freeBytes, tokenBytes, local);
        long? asked = options.KvCache.TokensAt(tokenBytes.Max());
        if (asked < 1)
            throw new ShardingException($"--kv-cache {options.KvCache} holds no token: one takes {tokenBytes.Max()} bytes on a worker.");
        affordable = Math.Max(affordable - affordable % options.BlockTokens, options.BlockTokens);
        int wanted = options.MaxModelLen > 0 ? options.MaxModelLen : config.MaxPositions;
        if (wanted > config.MaxPositions)
            throw new ShardingException($"max-model-len {wanted} is more than the model's own {config.MaxPositions} positions.");
        if (options.MaxModelLen > affordable && asked is null)
            throw new ShardingException(
                $"max-model-len {options.MaxModelLen} needs {options.MaxModelLen * tokenBytes.Max() >> 20} MiB of KV cache on a rank; {(devices.OnGpus ? "the GPUs hold, beside the weights," : "a quarter of the free memory holds")} {affordable} tokens.");
        int maxModelLen = (int)Math.Min(wanted, affordable);
        if (asked is not null)
            maxModelLen = (int)Math.Min(maxModelLen, asked.Value);
        long tokens = asked ?? (devices.OnGpus ? affordable : Math.Min(4L * maxModelLen, affordable));
        int blocks = (int)Math.Min((tokens + options.BlockTokens - 1) / options.BlockTokens, int.MaxValue / options.BlockTokens);
        int threads = options.Threads > 0 ? options.Threads : local ? Math.Max(1, cores / degree) : 0;
        return new GroupPlan(partition, shards, maxModelLen, blocks, options.BlockTokens, threads, devices);
    }

    /// <summary>Tokens for which a quarter of the host's memory suffices, where every rank pays what the busiest one does.</summary>
    private static long HostTokens(long freeBytes, long[] tokenBytes, bool local) =>
        freeBytes / 4 / Math.Max(tokenBytes.Max() * (local ? tokenBytes.Length : 1), 1);

    /// <summary>Bytes of keys and values that one token takes on a rank, over all layers.</summary>
    public static long KvBytesPerToken(ModelConfig config, ShardPlan shard, KvDtype kvDtype) => ShardSizes.KvBytesPerToken(config, shard, kvDtype == KvDtype.F32 ? 4 : 2);

    /// <summary>Memory that is free on this host, in bytes: what the kernel says is available, or the runtime's limit where that is lower.</summary>
    public static long FreeHostBytes()
    {
        long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (!File.Exists("/proc/meminfo"))
            return limit;
        string? line = File.ReadLines("/proc/meminfo").FirstOrDefault(text => text.StartsWith("MemAvailable:", StringComparison.Ordinal));
        string[] parts = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return parts.Length >= 2 && long.TryParse(parts[1], System.Globalization.CultureInfo.InvariantCulture, out long kibibytes) ? Math.Min(limit, kibibytes * 1024) : limit;
    }

    private static double[] WeightsOf(GatewayOptions options, int degree) => options.Partition.Count == degree
        ? [.. options.Partition]
        : throw new ShardingException(FormattableString.Invariant($"--partition '{string.Join(',', options.Partition)}' has {options.Partition.Count} weights for {degree} workers."));
}
