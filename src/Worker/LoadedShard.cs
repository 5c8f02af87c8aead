using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>Device, weights, cache and sampler of one rank, and its draft model where it has one, over a relay: they outlive the epoch they were loaded in.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class LoadedShard(
    LoadRequest request, ITensorBackend ops, RelayCommunicator relay, DenseTransformer model, KvCache cache, ShardPlan plan, LoadedDraft? draft) : IDisposable
{
    /// <summary>Where it computes.</summary>
    public ITensorBackend Ops => ops;

    /// <summary>The group it is in at present, if any.</summary>
    public RelayCommunicator Relay => relay;

    /// <summary>What runs steps.</summary>
    public ModelRank Rank { get; } = new(model, cache, plan, ops, relay);

    /// <summary>What guesses ahead; null = nothing does.</summary>
    public DraftPasses? DraftPasses { get; } = draft is null ? null : new DraftPasses(draft, request.BlockTokens);

    /// <summary>Bytes of its weights, the draft model's included.</summary>
    public long WeightBytes => model.WeightBytes + (draft?.WeightBytes ?? 0);

    /// <summary>Bytes of its caches.</summary>
    public long KvBytes => cache.Bytes + (draft?.KvBytes ?? 0);

    /// <summary>A step has failed of itself: this is not to be computed on again.</summary>
    public bool IsSpoiled { get; set; }

    /// <summary>Whether the device is the one that a request names.</summary>
    public bool IsOn(ComputeDevice device) => !IsSpoiled && request.Device.Equals(device);

    /// <summary>Whether a load would build the same again: it differs in the epoch, the way to the peers, the first steps and where it runs alone.</summary>
    public bool Serves(LoadRequest other) => !IsSpoiled && IsSameShard(request, other);

    /// <summary>Whether two loads build the same.</summary>
    public static bool IsSameShard(LoadRequest built, LoadRequest asked)
    {
        LoadRequest probe = asked.Clone();
        probe.Epoch = built.Epoch;
        probe.Transport = built.Transport;
        probe.TransportReason = built.TransportReason;
        probe.SegmentPrefix = built.SegmentPrefix;
        probe.RingAddresses.Clear();
        probe.RingAddresses.Add(built.RingAddresses);
        probe.Hosts.Clear();
        probe.Hosts.Add(built.Hosts);
        probe.Wire = built.Wire;
        probe.CollectiveTimeoutMs = built.CollectiveTimeoutMs;
        probe.LoadTimeoutMs = built.LoadTimeoutMs;
        probe.WarmUp = built.WarmUp;
        probe.Cpus.Clear();
        probe.Cpus.Add(built.Cpus);
        return probe.Equals(built);
    }

    /// <summary>Frees everything but the device, which is the caller's now.</summary>
    public ITensorBackend GiveUpDevice()
    {
        relay.Dispose();
        draft?.Dispose();
        cache.Dispose();
        model.Dispose();
        return ops;
    }

    public void Dispose() => GiveUpDevice().Dispose();
}
