using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Model.Sampling;
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
        probe.CollectiveTimeoutMs = built.CollectiveTimeoutMs;
        probe.LoadTimeoutMs = built.LoadTimeoutMs;
        probe.WarmUp = built.WarmUp;
        probe.Cpus.Clear();
        probe.Cpus.Add(built.Cpus);
        return probe.Equals(built);
    }

    /// <summary>Runs a prompt and decode steps, greedy and sampled, of each model: what the first request needs is compiled and its memory touched.</summary>
    /// <remarks>Writes the first blocks of the caches, which belong to nobody yet. Every rank of the group calls it.</remarks>
    public void WarmUp()
    {
        if (draft is not null)
        {
            WarmUp(draft.Rank, guesses: 0);
            WarmUp(Rank, guesses: 4);
        }
        WarmUp(Rank, guesses: 0);
        relay.TakeElapsed();
    }

    /// <param name="rank">The model.</param>
    /// <param name="guesses">Rows that each decode step has besides, as where tokens are guessed ahead.</param>
    private static void WarmUp(ModelRank rank, int guesses)
    {
        const int prompt = 32, decodeSteps = 3; // with two calls a layer the runtime then knows what is called often
        KvCache cache = rank.Cache;
        int room = Math.Min(Math.Min(rank.Model.Limits.MaxStepTokens, rank.Model.Limits.MaxModelLength), cache.Blocks * cache.BlockTokens);
        int rows = 1 + guesses, count = Math.Min(prompt, room - decodeSteps * rows);
        if (count < 1)
            return;
        int[] tokens = new int[count + decodeSteps * rows], blocks = [.. Enumerable.Range(0, cache.Blocks).Take(tokens.Length)];
        StepBatch batch = new(cache.BlockTokens);
        for (int step = 0, known = 0; step <= decodeSteps; step++)
        {
            int start = known;
            known = count + step * rows;
            batch.Clear(0);
            batch.AddSequence(tokens.AsSpan(start, known - start), start, blocks);
            SamplingSettings settings = step == decodeSteps ? new SamplingSettings { Temperature = 1 } : SamplingSettings.Greedy;
            for (int row = step == 0 ? known - start - 1 : 0; row < known - start; row++)
                batch.Samples.Add(new SampleRow(row, settings, tokens.AsMemory(0, start + row + 1), count, -1));
            rank.Run(batch);
        }
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
