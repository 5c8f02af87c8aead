using TpServe.Checkpoint;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model;
using TpServe.Model.Weights;
using TpServe.Protos.Worker;
using TpServe.Sharding;

namespace TpServe.Worker;

/// <summary>The draft model of one rank: weights and cache of its own, on the device and in the group of the model it guesses for.</summary>
/// <remarks>
/// Its cache has the same blocks as the other's, so that one block table serves both: shared prefixes, copies and preemption need no word of it.
/// Threads   the rank's thread.
/// </remarks>
internal sealed class LoadedDraft : IDraftModel, IDisposable
{
    private readonly ITensorBackend _ops;
    private readonly DenseTransformer _model;
    private readonly KvCache _cache;

    private LoadedDraft(ITensorBackend ops, ICommunicator group, DenseTransformer model, KvCache cache, ShardPlan plan, int targetVocab)
    {
        _ops = ops;
        _model = model;
        _cache = cache;
        Rank = new ModelRank(model, cache, plan, ops, group, isDraft: true);
        Limits = new DraftLimits(model.Limits.MaxModelLength, model.Limits.MaxStepTokens, model.Config.Vocab, targetVocab);
    }

    /// <summary>What runs its passes.</summary>
    public ModelRank Rank { get; }

    /// <inheritdoc/>
    public DraftLimits Limits { get; }

    /// <summary>Bytes of its weights.</summary>
    public long WeightBytes => _model.WeightBytes;

    /// <summary>Bytes of its files that were read to load it.</summary>
    public long ReadBytes => _model.ReadBytes;

    /// <summary>Bytes of its cache.</summary>
    public long KvBytes => _cache.Bytes;

    /// <summary>Loads what this rank owns of it.</summary>
    /// <param name="request">Names it.</param>
    /// <param name="ops">The rank's device.</param>
    /// <param name="group">The rank's group.</param>
    /// <param name="targetVocab">Rows of the embedding of the model it guesses for.</param>
    /// <param name="progress">Told the bytes done, and all.</param>
    /// <param name="before">What the rank holds of it; taken over. Null = nothing.</param>
    /// <exception cref="ModelLoadException">It cannot be loaded.</exception>
    public static LoadedDraft Load(LoadRequest request, ITensorBackend ops, ICommunicator group, int targetVocab, Action<long, long> progress, HeldWeights? before = null)
    {
        DraftModel draft = request.Draft;
        using ModelCheckpoint checkpoint = ModelCheckpoints.OpenWeights(draft.ModelPath);
        ShardPlan plan = new(checkpoint.Config, new Partition([.. draft.HeadBoundaries], [.. draft.LeafBoundaries], [.. draft.VocabBoundaries]), request.Rank);
        DenseTransformer model = WeightLoader.Load(checkpoint, plan, ops, group, new ModelLimits(draft.MaxModelLen, request.MaxStepTokens), progress, before);
        try
        {
            KvCache cache = new(checkpoint.Config, plan, DeviceBackends.Element(request.KvDtype), request.BlockTokens, request.KvBlocks, ops);
            return new LoadedDraft(ops, group, model, cache, plan, targetVocab);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public StepOutput Run(StepBatch batch) => Rank.Run(batch);

    /// <inheritdoc/>
    public void CopyBlock(int source, int destination) => _cache.CopyBlock(source, destination, _ops);

    /// <summary>Frees the cache; the weights are the caller's now.</summary>
    public HeldWeights GiveUp()
    {
        _cache.Dispose();
        return _model.TakeWeights();
    }

    /// <summary>Frees weights and cache.</summary>
    public void Dispose() => GiveUp().Dispose();
}
