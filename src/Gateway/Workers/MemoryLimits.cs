using System.Globalization;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Settings;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Workers;

/// <summary>What --rank-memory leaves for the KV cache of each rank.</summary>
/// <param name="config">The model.</param>
/// <param name="options">Checked settings: steps, requests at once, type of the cache.</param>
/// <param name="bytes">By rank; 0 = no limit.</param>
internal sealed class MemoryLimits(ModelConfig config, GatewayOptions options, IReadOnlyList<long> bytes)
{
    /// <summary>Tokens that the tightest rank holds beside its weights and activations; null = no rank has a limit.</summary>
    /// <param name="shards">By rank.</param>
    /// <param name="weights">Bytes of weights, by rank.</param>
    /// <param name="tokenBytes">Bytes of a token's keys and values, by rank.</param>
    /// <exception cref="ShardingException">A rank has no room for a block of tokens; names rank, limit and what it would hold.</exception>
    public (long Tokens, string Reason)? Tokens(IReadOnlyList<ShardPlan> shards, IReadOnlyList<long> weights, IReadOnlyList<long> tokenBytes)
    {
        (long Tokens, int Rank)? least = null;
        for (int rank = 0; rank < bytes.Count; rank++)
        {
            if (bytes[rank] == 0 || (tokenBytes[rank] == 0 && Spare(rank, shards[rank], weights[rank]) >= 0))
                continue;
            long spare = Spare(rank, shards[rank], weights[rank]);
            if (spare < tokenBytes[rank] * options.BlockTokens)
                throw new ShardingException(
                    $"--rank-memory: rank {rank} may take {ByteSizes.Format(bytes[rank])}; its share of the model has {weights[rank] >> 20} MiB of weights and {Scratch(shards[rank]) >> 20} MiB of activations, and a block of the KV cache {tokenBytes[rank] * options.BlockTokens >> 10} KiB. Raise it, give the rank a smaller share, or lower --max-step-tokens.");
            long tokens = spare / tokenBytes[rank];
            if (least is null || tokens < least.Value.Tokens)
                least = (tokens, rank);
        }
        return least is { } tightest
            ? (tightest.Tokens, string.Create(CultureInfo.InvariantCulture, $"what --rank-memory {ByteSizes.Format(bytes[tightest.Rank])} leaves rank {tightest.Rank} beside weights and activations"))
            : null;
    }

    /// <summary>Even shares, or shares in proportion to the limits where these hold more tokens.</summary>
    /// <param name="degree">Ranks.</param>
    /// <param name="weightBytes">Bytes of a shard's weights.</param>
    public Partition Roomiest(int degree, Func<ShardPlan, long> weightBytes)
    {
        Partition even = Partition.Even(config, degree);
        if (degree == 1 || bytes.All(limit => limit == 0))
            return even;
        long most = bytes.Max();
        Partition weighted = Partition.Weighted(config, [.. bytes.Select(limit => (double)(limit > 0 ? limit : most))]);
        return Room(weighted) > Room(even) ? weighted : even;

        double Room(Partition partition) => Enumerable.Range(0, degree).Where(rank => bytes[rank] > 0).Min(rank =>
        {
            ShardPlan shard = new(config, partition, rank);
            return Spare(rank, shard, weightBytes(shard)) / (double)Math.Max(1, GroupPlan.KvBytesPerToken(config, shard, options.KvDtype));
        });
    }

    private long Spare(int rank, ShardPlan shard, long weights) => bytes[rank] - weights - Scratch(shard);

    private long Scratch(ShardPlan shard) => (long)ScratchSizes.Of(
        config, shard.LocalHeads, shard.LocalKvHeads, shard.LocalIntermediate, shard.LocalVocab, options.MaxStepTokens, options.MaxRunning);
}
