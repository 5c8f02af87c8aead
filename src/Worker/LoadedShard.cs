using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Model.Sampling;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>Device, weights, cache and sampler of one rank, over a relay: they outlive the epoch they were loaded in.</summary>
/// <remarks>Threads   the rank's thread.</remarks>
internal sealed class LoadedShard(LoadRequest request, ITensorBackend ops, RelayCommunicator relay, DenseTransformer model, KvCache cache, ShardPlan plan) : IDisposable
{
    /// <summary>Where it computes.</summary>
    public ITensorBackend Ops => ops;

    /// <summary>The group it is in at present, if any.</summary>
    public RelayCommunicator Relay => relay;

    /// <summary>What runs steps.</summary>
    public ModelRank Rank { get; } = new(model, cache, plan, ops, relay);

    /// <summary>Bytes of its weights.</summary>
    public long WeightBytes => model.WeightBytes;

    /// <summary>Bytes of its cache.</summary>
    public long KvBytes => cache.Bytes;

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
        probe.CollectiveTimeoutMs = built.CollectiveTimeoutMs;
        probe.LoadTimeoutMs = built.LoadTimeoutMs;
        probe.WarmUp = built.WarmUp;
        probe.Cpus.Clear();
        probe.Cpus.Add(built.Cpus);
        return probe.Equals(built);
    }

    /// <summary>Runs a prompt and decode steps, greedy and sampled: what the first request needs is compiled and its memory touched.</summary>
    /// <remarks>Writes the first blocks of the cache, which belong to nobody yet. Every rank of the group calls it.</remarks>
    public void WarmUp()
    {
        const int prompt = 32, decodeSteps = 3; // with two calls a layer the runtime then knows what is called often
        int room = Math.Min(Math.Min(model.Limits.MaxStepTokens, model.Limits.MaxModelLength), cache.Blocks * cache.BlockTokens);
        int count = Math.Min(prompt, room - decodeSteps);
        if (count < 1)
            return;
        int[] tokens = new int[count + decodeSteps], blocks = [.. Enumerable.Range(0, cache.Blocks).Take(tokens.Length)];
        StepBatch batch = new(cache.BlockTokens);
        for (int step = 0, known = 0; step <= decodeSteps; step++)
        {
            int start = known;
            known = count + step;
            batch.Clear(0);
            batch.AddSequence(tokens.AsSpan(start, known - start), start, blocks);
            SamplingSettings settings = step == decodeSteps ? new SamplingSettings { Temperature = 1 } : SamplingSettings.Greedy;
            batch.Samples.Add(new SampleRow(known - start - 1, settings, tokens.AsMemory(0, known), count, -1));
            Rank.Run(batch);
        }
        relay.TakeElapsed();
    }

    /// <summary>Frees everything but the device, which is the caller's now.</summary>
    public ITensorBackend GiveUpDevice()
    {
        relay.Dispose();
        cache.Dispose();
        model.Dispose();
        return ops;
    }

    public void Dispose() => GiveUpDevice().Dispose();
}
