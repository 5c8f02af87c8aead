using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Model.Weights;
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

    /// <summary>The adapters it holds.</summary>
    public LoadedLoras Loras { get; } = new(model.Config, plan, ops);

    /// <summary>Bytes of its weights, the draft model's included.</summary>
    public long WeightBytes => model.WeightBytes + (draft?.WeightBytes ?? 0);

    /// <summary>Bytes of the files that were read to load it.</summary>
    public long ReadBytes => model.ReadBytes + (draft?.ReadBytes ?? 0);

    /// <summary>Bytes of its caches.</summary>
    public long KvBytes => cache.Bytes + (draft?.KvBytes ?? 0);

    /// <summary>A step has failed of itself: this is not to be computed on again.</summary>
    public bool IsSpoiled { get; set; }

    /// <summary>Whether the device is the one that a request names.</summary>
    public bool IsOn(ComputeDevice device) => !IsSpoiled && request.Device.Equals(device);

    /// <summary>Whether a load would build the same again: it differs in the epoch, the way to the peers, the first steps and where it runs alone.</summary>
    public bool Serves(LoadRequest other) => !IsSpoiled && IsSameShard(request, other);

    /// <summary>Whether a load may take weights from here: it is of the same model on the same device, and differs in who owns what and how much the caches hold.</summary>
    public bool SharesWeights(LoadRequest other)
    {
        if (IsSpoiled)
            return false;
        LoadRequest probe = other.Clone();
        probe.Rank = request.Rank;
        probe.Degree = request.Degree;
        probe.HeadBoundaries.Clear();
        probe.HeadBoundaries.Add(request.HeadBoundaries);
        probe.LeafBoundaries.Clear();
        probe.LeafBoundaries.Add(request.LeafBoundaries);
        probe.VocabBoundaries.Clear();
        probe.VocabBoundaries.Add(request.VocabBoundaries);
        probe.KvBlocks = request.KvBlocks;
        probe.MaxModelLen = request.MaxModelLen;
        if (probe.Draft is not null && request.Draft is not null && probe.Draft.ModelIdentity == request.Draft.ModelIdentity && probe.Draft.ModelPath == request.Draft.ModelPath)
            probe.Draft = request.Draft;
        return IsSameShard(request, probe);
    }

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
        probe.OverlapRows = built.OverlapRows;
        probe.CollectiveTimeoutMs = built.CollectiveTimeoutMs;
        probe.LoadTimeoutMs = built.LoadTimeoutMs;
        probe.WarmUp = built.WarmUp;
        probe.Loras.Clear(); // they come and go beside the shard
        probe.Loras.Add(built.Loras);
        probe.Cpus.Clear();
        probe.Cpus.Add(built.Cpus);
        return probe.Equals(built);
    }

    /// <summary>Frees everything but the weights and the device, which are the caller's now.</summary>
    public KeptShard GiveUp()
    {
        relay.Dispose();
        Loras.Dispose();
        cache.Dispose();
        return new KeptShard(ops, model.TakeWeights(), draft?.GiveUp());
    }

    /// <summary>Frees everything but the device, which is the caller's now.</summary>
    public ITensorBackend GiveUpDevice()
    {
        GiveUp().Dispose();
        return ops;
    }

    public void Dispose() => GiveUpDevice().Dispose();
}

/// <summary>What of a shard goes into the next one: its device, and weights, which a load takes apart; whoever disposes it frees the weights alone.</summary>
internal sealed record KeptShard(ITensorBackend Ops, HeldWeights Weights, HeldWeights? Draft) : IDisposable
{
    public void Dispose()
    {
        Draft?.Dispose();
        Weights.Dispose();
    }
}
