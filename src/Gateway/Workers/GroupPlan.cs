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
/// <param name="Threads">By rank, compute threads; 0 = the cores of its host divided by the workers on it, which is known when they answer.</param>
/// <param name="Devices">What each rank computes on.</param>
/// <param name="CacheReason">Why the KV cache has the size it has.</param>
public sealed record GroupPlan(
    Partition Partition, IReadOnlyList<ShardPlan> Shards, int MaxModelLen, int KvBlocks, int BlockTokens, IReadOnlyList<int> Threads, DevicePlan Devices, string CacheReason)
{
    /// <summary>Most workers that are started on one host, however few cores it has.</summary>
    public const int FewestLocalWorkersAllowed = 8;

    // A Q8 cache has one binary16 scale for each block of elements of a head.
    private const int Q8BlockElements = 32, Q8ScaleBytes = 2;

    /// <summary>Who owns what of the model that guesses ahead; null = there is none.</summary>
    public DraftPlan? Draft { get; init; }

    /// <summary>Ranks in the group.</summary>
    public int Degree => Partition.Degree;

    /// <summary>Plans a group.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">Checked settings.</param>
    /// <param name="devices">Degree and device of each rank.</param>
    /// <param name="freeBytes">Memory free on this host, where the workers run here.</param>
    /// <param name="cores">Cores of this host.</param>
    /// <param name="weightBytes">Bytes of a shard's weights.</param>
    /// <param name="seats">Which of the workers that the settings ask for take part, ascending; null = all.</param>
    /// <param name="workers">What workers that run elsewhere say of their hosts, by rank; null = all run here.</param>
    /// <param name="draft">The model that guesses ahead; null = none does.</param>
    /// <param name="chosen">The split of the model; null = as the settings say.</param>
    /// <exception cref="Checkpoint.ModelLoadException">The architecture is not supported.</exception>
    /// <exception cref="ShardingException">Degree, weights, context or type of the KV cache do not fit the model, the devices or the host; names value and limit.</exception>
    public static GroupPlan Create(ModelConfig config, GatewayOptions options, DevicePlan devices, long freeBytes, int cores, Func<ShardPlan, long> weightBytes,
        IReadOnlyList<int>? seats = null, IReadOnlyList<HelloReply>? workers = null, DraftFacts? draft = null, Partition? chosen = null)
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
            throw new ShardingException(most < Sharding.Partition.MaxDegree
                ? $"--tp {degree}: at most {most} workers start on this host: twice its {cores} cores, or {FewestLocalWorkersAllowed} where that is more. Workers on GPUs or on other hosts (--worker) may be up to {Sharding.Partition.MaxDegree}."
                : $"--tp {degree} is not in 1..{most}.");

        double[]? shares = options.Partition.Weights.Count == 0 ? null : seats is null ? WeightsOf(options, degree) : [.. seats.Select(seat => options.Partition.Weights[seat])];
        if (seats is null)
        {
            options.Threads.RequireFor(degree, "--threads");
            options.RankMemory.RequireFor(degree, "--rank-memory");
        }
        MemoryLimits limits = new(config, options, [.. Enumerable.Range(0, degree).Select(rank => options.RankMemory.At(seats?[rank] ?? rank))]);
        Partition partition = chosen ?? (shares is not null ? Sharding.Partition.Weighted(config, shares) : options.Partition.IsAuto ? limits.Roomiest(degree, weightBytes) : Sharding.Partition.Even(config, degree));
        ShardPlan[] shards = [.. Enumerable.Range(0, degree).Select(rank => new ShardPlan(config, partition, rank))];
        // What guesses ahead is cut in the proportions of the leaves, of which there are most.
        double[]? draftShares = chosen is null ? shares : [.. shards.Select(shard => (double)shard.MlpShare.Count)];
        DraftPlan? drafts = draft is null ? null : DraftPlan.Create(draft, degree, draftShares);

        RequireKvDtype(config, options.KvDtype, devices);
        if (draft is not null)
            RequireKvDtype(draft.Config, options.KvDtype, devices);

        // KV cache: what the devices hold beside the weights, of both models where one guesses for the other.
        long[] tokenBytes = [.. shards.Select(shard => KvBytesPerToken(config, shard, options.KvDtype))];
        int tokenElements = shards.Max(shard => shard.LocalKvHeads) * config.HeadDim;
        long[] weights = [.. shards.Select(weightBytes)];
        if (drafts is not null)
        {
            for (int rank = 0; rank < degree; rank++)
            {
                tokenBytes[rank] += KvBytesPerToken(draft!.Config, drafts.Shards[rank], options.KvDtype);
                weights[rank] += draft.WeightBytes(drafts.Shards[rank]);
            }
            tokenElements = Math.Max(tokenElements, drafts.Shards.Max(shard => shard.LocalKvHeads) * draft!.Config.HeadDim);
        }
        (long affordable, string reason) = devices.OnGpus
            ? (GpuMemory.Tokens(devices, options.GpuMemoryUtilization, weights, tokenBytes, tokenElements), FormattableString.Invariant($"{options.GpuMemoryUtilization:P0} of the GPUs' free memory, less the weights"))
            : HostTokens(freeBytes, workers, weights, tokenBytes, tokenElements);
        if (limits.Tokens(shards, weights, tokenBytes) is { } limited && limited.Tokens < affordable)
            (affordable, reason) = limited;
        long? asked = options.KvCache.TokensAt(tokenBytes.Max());
        if (asked < 1)
            throw new ShardingException($"--kv-cache {options.KvCache} holds no token: one takes {tokenBytes.Max()} bytes on a worker.");
        if (asked > MostTokens(tokenElements))
            throw new ShardingException($"--kv-cache {options.KvCache} holds {asked} tokens; this model's cache has at most {MostTokens(tokenElements)} at this degree. Lower --kv-cache.");
        if (asked is { } tokensAsked && !devices.OnGpus)
            RequireHostMemory(options.KvCache, tokensAsked, freeBytes, workers, weights, tokenBytes);
        if (asked > affordable && limits.Tokens(shards, weights, tokenBytes) is { } least && asked > least.Tokens)
            throw new ShardingException($"--kv-cache {options.KvCache} holds {asked} tokens; there is room for {least.Tokens}: {least.Reason}.");
        if (asked > affordable && devices.OnGpus && GpuMemory.Tokens(devices, 1, weights, tokenBytes, tokenElements) is var room && asked > room)
            throw new ShardingException($"--kv-cache {options.KvCache} holds {asked} tokens; the GPUs have memory for {room} beside the weights. Lower --kv-cache, or use more GPUs.");
        affordable = Math.Max(affordable - affordable % options.BlockTokens, options.BlockTokens);
        int wanted = options.MaxModelLen > 0 ? options.MaxModelLen : config.MaxPositions;
        if (wanted > config.MaxPositions)
            throw new ShardingException($"max-model-len {wanted} is more than the model's own {config.MaxPositions} positions.");
        if (options.MaxModelLen > affordable && asked is null)
            throw new ShardingException(
                $"max-model-len {options.MaxModelLen} needs {options.MaxModelLen * tokenBytes.Max() >> 20} MiB of KV cache on a rank; {(devices.OnGpus ? "the GPUs hold, beside the weights," : $"there is room for ({reason})")} {affordable} tokens.");
        int maxModelLen = (int)Math.Min(wanted, affordable);
        if (asked is not null)
            maxModelLen = (int)Math.Min(maxModelLen, asked.Value);
        // A GPU is there for this alone; on a host no more is taken than all that may run at once can fill.
        long fill = devices.OnGpus ? affordable : (long)options.MaxRunning * maxModelLen;
        long tokens = asked ?? Math.Min(affordable, fill);
        if (asked is not null)
            reason = $"--kv-cache {options.KvCache}";
        else if (fill < affordable)
            reason = $"{options.MaxRunning} requests of {maxModelLen} tokens fill no more";
        int blocks = (int)Math.Min((tokens + options.BlockTokens - 1) / options.BlockTokens, int.MaxValue / options.BlockTokens);
        int[] threads = [.. Enumerable.Range(0, degree).Select(rank => options.Threads.At(seats?[rank] ?? rank) is > 0 and int given ? given : local ? Math.Max(1, cores / degree) : 0)];
        return new GroupPlan(partition, shards, maxModelLen, blocks, options.BlockTokens, threads, devices, reason)
        {
            Draft = drafts is null ? null : drafts with { MaxModelLen = Math.Min(maxModelLen, drafts.MaxModelLen) },
        };
    }

    /// <summary>Tokens that the hosts' memory holds: of what is free beside the weights half stays so, for whatever else runs there. The tightest host decides.</summary>
    private static (long Tokens, string Reason) HostTokens(long freeBytes, IReadOnlyList<HelloReply>? workers, long[] weights, long[] tokenBytes, int tokenElements)
    {
        long tokens = MostTokens(tokenElements), spare = long.MaxValue;
        foreach (IGrouping<string, int> host in Enumerable.Range(0, weights.Length).GroupBy(rank => workers is null ? "" : workers[rank].HostId))
        {
            long free = workers is null ? freeBytes : host.Min(rank => workers[rank].FreeBytes);
            spare = Math.Min(spare, Math.Max(0, free - host.Sum(rank => weights[rank])));
            tokens = Math.Min(tokens, Math.Max(0, free - host.Sum(rank => weights[rank])) / 2 / Math.Max(host.Sum(rank => tokenBytes[rank]), 1));
        }
        return (tokens, FormattableString.Invariant($"half of the {spare / 1073741824.0:F1} GiB free beside the weights"));
    }

    /// <summary>A layer's keys stay below 2^31 elements, so that kernels may index them with 32 bits.</summary>
    private static long MostTokens(int tokenElements) => int.MaxValue / Math.Max(tokenElements, 1);

    /// <summary>A cache that was asked for may take all that is free, not half of it; but not more, or a worker runs out of memory while it loads or, worse, later.</summary>
    private static void RequireHostMemory(KvCacheSize size, long tokens, long freeBytes, IReadOnlyList<HelloReply>? workers, long[] weights, long[] tokenBytes)
    {
        foreach (IGrouping<string, int> host in Enumerable.Range(0, weights.Length).GroupBy(rank => workers is null ? "" : workers[rank].HostId))
        {
            long free = workers is null ? freeBytes : host.Min(rank => workers[rank].FreeBytes), loaded = host.Sum(rank => weights[rank]), token = host.Sum(rank => tokenBytes[rank]);
            if ((Int128)tokens * token > Math.Max(0, free - loaded))
                throw new ShardingException(
                    $"--kv-cache {size} needs {(Int128)tokens * token >> 20} MiB for the {host.Count()} workers of {(workers is null ? "this host" : "one host")}, where {Math.Max(0, free - loaded) >> 20} MiB are free beside {loaded >> 20} MiB of weights. Lower it to at most {Math.Max(0, free - loaded) / Math.Max(token, 1)} tokens.");
        }
    }

    /// <summary>Bytes of keys and values that one token takes on a rank, over all layers.</summary>
    public static long KvBytesPerToken(ModelConfig config, ShardPlan shard, KvDtype kvDtype)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ShardSizes.KvBytesPerToken(config, shard, kvDtype switch
        {
            KvDtype.F32 => 4 * config.HeadDim,
            KvDtype.Q8 => config.HeadDim + (config.HeadDim / Q8BlockElements * Q8ScaleBytes),
            _ => 2 * config.HeadDim,
        });
    }

    private static void RequireKvDtype(ModelConfig config, KvDtype kvDtype, DevicePlan devices)
    {
        if (kvDtype != KvDtype.Q8)
            return;
        RankDevice? other = devices.Ranks.FirstOrDefault(device => device.Kind != DeviceKind.Cpu);
        string others = string.Join(", ", Words.KvDtypes.All.Where(word => word != Words.KvDtypes.Of(kvDtype)));
        if (other is not null)
            throw new ShardingException($"--kv-dtype {Words.KvDtypes.Of(kvDtype)} is served on the CPU only; on {other.Name} it may be {others}.");
        if (config.HeadDim % Q8BlockElements != 0 || (config.Latent?.KvRank ?? 0) % Q8BlockElements != 0)
            throw new ShardingException($"--kv-dtype {Words.KvDtypes.Of(kvDtype)} is for heads of a multiple of {Q8BlockElements} elements; this model's have {config.HeadDim}: it may be {others}.");
    }

    private static double[] WeightsOf(GatewayOptions options, int degree) => options.Partition.Weights.Count == degree
        ? [.. options.Partition.Weights]
        : throw new ShardingException(FormattableString.Invariant($"--partition '{options.Partition.Text}' has {options.Partition.Weights.Count} weights for {degree} workers."));
}
