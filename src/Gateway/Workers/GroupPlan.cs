using System.Globalization;
using TpServe.Checkpoint.Config;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>What is decided before a worker starts: who owns what, and how much context and KV cache the group holds. Pure data.</summary>
/// <param name="Partition">Boundaries of heads, leaves and vocabulary.</param>
/// <param name="Shards">Each rank's plan, by rank.</param>
/// <param name="MaxModelLen">Longest context in tokens.</param>
/// <param name="KvBlocks">KV blocks of every layer.</param>
/// <param name="BlockTokens">Tokens of a block.</param>
/// <param name="Threads">Compute threads of each worker.</param>
public sealed record GroupPlan(Partition Partition, IReadOnlyList<ShardPlan> Shards, int MaxModelLen, int KvBlocks, int BlockTokens, int Threads)
{
    /// <summary>Most workers that are started on one host, however few cores it has.</summary>
    public const int FewestLocalWorkersAllowed = 8;

    /// <summary>Ranks in the group.</summary>
    public int Degree => Partition.Degree;

    /// <summary>Plans a group.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="freeBytes">Memory free on this host.</param>
    /// <param name="cores">Cores of this host.</param>
    /// <exception cref="Checkpoint.ModelLoadException">The architecture is not supported.</exception>
    /// <exception cref="ShardingException">Degree, weights or context do not fit the model or the host; names value and limit.</exception>
    public static GroupPlan Create(ModelConfig config, GatewayOptions options, long freeBytes, int cores)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(options);
        KnownArchitectures.Require(config.Architecture);
        bool local = options.Workers.Count == 0;
        int degree = local ? options.Tp : options.Workers.Count;
        int most = local ? Math.Min(Sharding.Partition.MaxDegree, Math.Max(FewestLocalWorkersAllowed, 2 * cores)) : Sharding.Partition.MaxDegree;
        if (degree < 1 || degree > most)
            throw new ShardingException($"tensor parallel degree {degree} is not in 1..{most}{(local ? $" (this host has {cores} cores)" : "")}.");

        Partition partition = options.Partition == "even"
            ? Sharding.Partition.Even(config, degree)
            : Sharding.Partition.Weighted(config, ParseWeights(options.Partition, degree));
        ShardPlan[] shards = [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(config, partition, rank))];

        // KV cache: what the busiest rank pays for a token, times the ranks that share this host's memory.
        long tokenBytes = shards.Max(shard => KvBytesPerToken(config, shard, options.KvDtype)) * (local ? degree : 1);
        long affordable = freeBytes / 4 / Math.Max(tokenBytes, 1);
        int wanted = options.MaxModelLen > 0 ? options.MaxModelLen : config.MaxPositions;
        if (wanted > config.MaxPositions)
            throw new ShardingException($"max-model-len {wanted} is more than the model's own {config.MaxPositions} positions.");
        if (options.MaxModelLen > affordable && options.KvCacheTokens == 0)
            throw new ShardingException($"max-model-len {options.MaxModelLen} needs {options.MaxModelLen * tokenBytes >> 20} MiB of KV cache; a quarter of the free memory is {freeBytes / 4 >> 20} MiB.");
        int maxModelLen = (int)Math.Min(wanted, Math.Max(affordable, options.BlockTokens));
        long tokens = options.KvCacheTokens > 0 ? options.KvCacheTokens : Math.Min(4L * maxModelLen, Math.Max(affordable, maxModelLen));
        if (options.KvCacheTokens > 0)
            maxModelLen = Math.Min(maxModelLen, options.KvCacheTokens);
        int blocks = (int)Math.Min((tokens + options.BlockTokens - 1) / options.BlockTokens, int.MaxValue / options.BlockTokens);
        int threads = options.Threads > 0 ? options.Threads : Math.Max(1, local ? cores / degree : cores);
        return new GroupPlan(partition, shards, maxModelLen, blocks, options.BlockTokens, threads);
    }

    /// <summary>Bytes of keys and values that one token takes on a rank, over all layers.</summary>
    public static long KvBytesPerToken(ModelConfig config, ShardPlan shard, string kvDtype)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(shard);
        return 2L * config.Layers * shard.LocalKvHeads * config.HeadDim * (kvDtype == "f32" ? 4 : 2);
    }

    /// <summary>Memory that is free on this host, in bytes: what the kernel says is available, or the runtime's limit where that is lower.</summary>
    public static long FreeHostBytes()
    {
        long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (!File.Exists("/proc/meminfo"))
            return limit;
        string? line = File.ReadLines("/proc/meminfo").FirstOrDefault(text => text.StartsWith("MemAvailable:", StringComparison.Ordinal));
        string[] parts = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return parts.Length >= 2 && long.TryParse(parts[1], CultureInfo.InvariantCulture, out long kibibytes) ? Math.Min(limit, kibibytes * 1024) : limit;
    }

    private static double[] ParseWeights(string text, int degree)
    {
        string[] parts = text.Split(',');
        double[] weights = new double[parts.Length];
        for (int i = 0; i < parts.Length; i++)
            if (!double.TryParse(parts[i], NumberStyles.Float, CultureInfo.InvariantCulture, out weights[i]))
                throw new ShardingException($"partition '{text}': '{parts[i]}' is not a number; write 'even' or one weight for each worker, as in 2,1.");
        if (parts.Length != degree)
            throw new ShardingException($"partition '{text}' has {parts.Length} weights for {degree} workers.");
        return weights;
    }
}
