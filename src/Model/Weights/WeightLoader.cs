using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Families;
using TpServe.Model.Layers;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>Builds one rank's part of a model: checks the checkpoint, reads this rank's bytes, packs them for its device.</summary>
/// <remarks>
/// 1. The family and the config say which tensors there must be; anything missing, misshapen or left over fails before a byte is read.
/// 2. Each block's tensors are packed in the order of the blocks, and their mapped pages dropped.
/// 3. The layers are put together; where the family has no such part there is no layer.
/// Threads  the rank's thread.
/// </remarks>
public sealed class WeightLoader
{
    private readonly ModelConfig _config;
    private readonly FamilySpec _family;
    private readonly ShardPlan _plan;
    private readonly ITensorBackend _ops;
    private readonly ICommunicator _comm;
    private readonly RankWeights _weights;
    private readonly ExpertLoader? _experts;
    private readonly LatentLoader? _latent;
    private readonly float _normOffset;
    private readonly ModelLimits _limits;

    private WeightLoader(
        ModelCheckpoint checkpoint, ShardPlan plan, ITensorBackend ops, ICommunicator comm, ModelLimits limits, HeldWeights? before, Action<long, long>? progress)
    {
        (_config, _plan, _ops, _comm, _limits) = (checkpoint.Config, plan, ops, comm, limits);
        _family = FamilyRegistry.Find(_config.Architecture);
        if (_config.Experts is not null && !ops.HasExperts)
            throw new ModelLoadException($"architecture '{_config.Architecture}' has mixtures of experts, which are not computed on this device ({ops.Description}).");
        if (_config.AttentionSinks && !ops.HasSinks)
            throw new ModelLoadException($"architecture '{_config.Architecture}' has attention sinks, which are not computed on this device ({ops.Description}).");
        if (_config.Latent is not null && !ops.HasLatentCaches)
            throw new ModelLoadException($"architecture '{_config.Architecture}' has latent attention, which is not computed on this device ({ops.Description}).");
        if (_config is { IsLayerNorm: true } or { IsMlpGated: false } && !ops.HasLayerNorm)
            throw new ModelLoadException($"architecture '{_config.Architecture}' has layer norms, which are not computed on this device ({ops.Description}).");
        IReadOnlyList<ExpectedTensor> expected = ExpectedTensors.Of(_config, _family, checkpoint.Tensors);
        ExpectedTensors.Check(checkpoint, expected, _config.TieEmbeddings, _family);
        _weights = new RankWeights(checkpoint, plan, ops, expected, before, progress);
        _experts = _config.Experts is null ? null : new ExpertLoader(checkpoint, _family, plan, _weights);
        _latent = _config.Latent is null ? null : new LatentLoader(checkpoint, plan, _weights, _family.Tensors, ops);
        _normOffset = _config.NormWeightsAddOne ? 1f : 0f;
    }

    /// <summary>The rank's model, ready to run. The checkpoint may be closed afterwards.</summary>
    /// <param name="checkpoint">The opened model.</param>
    /// <param name="plan">What this rank owns.</param>
    /// <param name="ops">The rank's device.</param>
    /// <param name="comm">The rank's group.</param>
    /// <param name="limits">Longest sequence and largest step.</param>
    /// <param name="progress">Called with (bytes done, bytes in all) of this rank after each tensor.</param>
    /// <param name="before">What the rank holds of the same checkpoint on the same device: it is taken over, and freed where the model has no use for it. Null = nothing.</param>
    /// <exception cref="ModelLoadException">Unknown architecture, or a tensor that is missing, misshapen or unused.</exception>
    public static DenseTransformer Load(
        ModelCheckpoint checkpoint, ShardPlan plan, ITensorBackend ops, ICommunicator comm, ModelLimits limits, Action<long, long>? progress = null, HeldWeights? before = null)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(ops);
        ArgumentNullException.ThrowIfNull(comm);
        ArgumentNullException.ThrowIfNull(limits);
        before?.DropTables();
        WeightLoader loader = new(checkpoint, plan, ops, comm, limits, before, progress);
        bool loaded = false;
        try
        {
            DenseTransformer model = loader.Build();
            loaded = true;
            return model;
        }
        finally
        {
            if (!loaded)
                loader._weights.Owned.Dispose();
            before?.Dispose();
        }
    }

    private DenseTransformer Build()
    {
        PackedWeight? table = _weights.Rows(ExpectedTensors.Embedding, WeightRole.Embedding);
        // A rank without vocabulary still needs a table to ask: one row that stands for an id no token has.
        VocabParallelEmbedding embedding = new(
            table ?? _weights.FirstRow(ExpectedTensors.Embedding), table is null ? _config.Vocab : _plan.FirstVocab, _config.Hidden,
            _config.EmbeddingScale, _ops, _comm);

        RotaryEmbedding rotary = Rotary(_config.Rope);
        RotaryEmbedding localRotary = _config.LocalRope is { } local ? Rotary(local) : rotary;
        Tensor zeros = _family.QueryKeyNorm == QueryKeyNorm.AllHeads
            ? _weights.Table(new float[_limits.MaxStepTokens * (_config.Heads + _config.KvHeads)], _config.Heads + _config.KvHeads)
            : default;

        DecoderLayer[] layers = new DecoderLayer[_config.Layers];
        for (int layer = 0; layer < layers.Length; layer++)
            layers[layer] = Block(layer, rotary, localRotary, zeros);

        IRowNorm finalNorm = Norm(ExpectedTensors.FinalNorm[..^".weight".Length]);
        PackedWeight? headWeight = _config.TieEmbeddings ? table : _weights.Rows(ExpectedTensors.Head, WeightRole.Head);
        ParallelLmHead head = new(
            new ColumnParallelLinear(headWeight is null ? [] : [headWeight], null, _ops), _config.LogitDivisor, _config.LogitSoftcap, _ops);
        return new DenseTransformer(_config, embedding, layers, finalNorm, head, _limits, _ops, _weights.Owned);
    }

    private DecoderLayer Block(int layer, RotaryEmbedding rotary, RotaryEmbedding localRotary, Tensor zeros)
    {
        string block = ExpectedTensors.Block(layer);
        BlockTensors names = _family.Tensors;
        bool slides = _config.SlidingWindow > 0 && layer < _config.SlidingLayers.Count && _config.SlidingLayers[layer];
        bool rotates = _config.RopeLayers.Count == 0 || _config.RopeLayers[layer];

        HalfBlockNorms attentionNorms = new(Norm(block, names.AttentionInputNorm), Norm(block, names.AttentionOutputNorm));
        AttentionShape shape = new(
            _config.HeadDim, _plan.KvHeadOfHead, _config.AttentionScale ?? 1f / MathF.Sqrt(_config.HeadDim), _config.AttentionSoftcap,
            slides ? _config.SlidingWindow : 0, Sinks(block));
        IAttention attention = _latent is not null
            ? new LatentAttention(_config.Latent!, _latent.Of(block), rotary, shape, Output(), _ops)
            : new Attention(Qkv(block), NormOfHeads(block, zeros), rotates ? slides ? localRotary : rotary : null, shape, Output(), _ops);

        HalfBlockNorms mlpNorms = new(Norm(block, names.MlpInputNorm), Norm(block, names.MlpOutputNorm));
        IMlp mlp = _config.Experts is { } experts && experts.IsIn(layer)
            ? Mixture(block, experts)
            : Mlp(block, RowParallel(block + names.Down, _plan.DenseShare, _config.MlpBias, CollectivePurpose.Mlp));
        return new DecoderLayer(attentionNorms, attention, mlpNorms, mlp, _config.ResidualScale, _ops, _config.IsParallelBlock);

        RowParallelLinear Output() => RowParallel(block + names.AttentionOutput, _plan.HeadShare, _config.OutputBias, CollectivePurpose.Attention);
    }

    private IMlp Mlp(string block, RowParallelLinear down) => _config.IsMlpGated
        ? new GatedMlp(GateUp(block), Activation(), down, _ops)
        : new PlainMlp(ColumnParallel(block, _config.MlpBias, (_family.Tensors.Up, [WeightRole.Up])), PlainActivation(), down, _ops);

    private MixtureOfExperts Mixture(string block, ExpertsConfig experts)
    {
        ColumnParallelLinear router = new([_experts!.Router(block)], _experts.RouterBias(block), _ops);
        return new MixtureOfExperts(
            router, _experts.Correction(block), _experts.Shape, _experts.Mlp(block, new ExpertActivation(Activation(), experts.SwiGluAlpha, experts.SwiGluLimit)),
            new LeafSum(null, _config.Hidden, _plan.MlpShare, CollectivePurpose.Mlp, _ops, _comm), _ops);
    }

    /// <summary>The logits of this rank's heads that stand for nothing.</summary>
    private Tensor? Sinks(string block)
    {
        if (!_config.AttentionSinks)
            return null;
        float[] all = _weights.Numbers($"{block}{_family.Tensors.Sinks}");
        return _plan.LocalHeads == 0 ? null : _weights.Table(all.AsSpan(_plan.FirstHead, _plan.LocalHeads), _plan.LocalHeads);
    }

    private QkvParallelLinear Qkv(string block)
    {
        BlockTensors names = _family.Tensors;
        bool bias = _config.QkvBias || _family.AlwaysQkvBias;
        ColumnParallelLinear linear = names.FusedQkv is { } fused
            ? ColumnParallel(block, bias, (fused, [WeightRole.Query, WeightRole.Key, WeightRole.Value]))
            : ColumnParallel(block, bias, (names.Query, [WeightRole.Query]), (names.Key, [WeightRole.Key]), (names.Value, [WeightRole.Value]));
        return new QkvParallelLinear(linear, _plan.LocalHeads * _config.HeadDim, _plan.LocalKvHeads * _config.HeadDim);
    }

    private MergedColumnParallelLinear GateUp(string block)
    {
        BlockTensors names = _family.Tensors;
        return new MergedColumnParallelLinear(names.FusedGateUp is { } fused
            ? ColumnParallel(block, _config.MlpBias, (fused, [WeightRole.Gate, WeightRole.Up]))
            : ColumnParallel(block, _config.MlpBias, (names.Gate, [WeightRole.Gate]), (names.Up, [WeightRole.Up])));
    }

    private ColumnParallelLinear ColumnParallel(string block, bool bias, params ReadOnlySpan<(string Name, WeightRole[] Roles)> projections)
    {
        (string, WeightRole[])[] weights = new (string, WeightRole[])[projections.Length], biases = new (string, WeightRole[])[projections.Length];
        for (int i = 0; i < projections.Length; i++)
        {
            weights[i] = ($"{block}{projections[i].Name}.weight", projections[i].Roles);
            biases[i] = ($"{block}{projections[i].Name}.bias", projections[i].Roles);
        }
        return new ColumnParallelLinear(_weights.Columns(weights), bias ? _weights.OutputVector(biases) : null, _ops);
    }

    private RowParallelLinear RowParallel(string name, LeafShare share, bool bias, CollectivePurpose purpose) =>
        new(_weights.Leaves($"{name}.weight", share), bias ? _weights.Vector($"{name}.bias") : null, _config.Hidden, share, purpose, _ops, _comm);

    private IRowNorm? Norm(string block, string? name) => name is null ? null : Norm(block + name);

    private IRowNorm Norm(string module)
    {
        Tensor weight = _weights.Vector($"{module}.weight", _normOffset);
        return _config.IsLayerNorm
            ? new LayerNorm(weight, _config.NormBias ? _weights.Vector($"{module}.bias") : null, _config.NormEpsilon, _ops)
            : new RmsNorm(weight, _config.NormEpsilon, _ops);
    }

    private IQueryKeyNorm? NormOfHeads(string block, Tensor zeros)
    {
        string query = $"{block}{_family.Tensors.QueryNorm}.weight", key = $"{block}{_family.Tensors.KeyNorm}.weight";
        return _family.QueryKeyNormOf(_config) switch
        {
            QueryKeyNorm.PerHead => new HeadNorm(_weights.Vector(query, _normOffset), _weights.Vector(key, _normOffset), _config.NormEpsilon, _ops),
            QueryKeyNorm.AllHeads => new SpreadNorm(
                _weights.OutputVector((query, [WeightRole.Query])), _weights.OutputVector((key, [WeightRole.Key])), zeros, _config.NormEpsilon,
                new SpreadHeads(_plan, _config.Heads, _config.KvHeads, _config.HeadDim), _ops, _comm),
            _ => null,
        };
    }

    private RotaryEmbedding Rotary(RopeConfig rope) =>
        new(_weights.Table(RotaryTable.Build(rope, _config.MaxPositions, _limits.MaxModelLength), rope.RotaryDim), _config.Latent?.RopeDim ?? _config.HeadDim, _ops);

    private Activation Activation() => _config.HiddenActivation switch
    {
        "silu" => Kernels.Activation.Silu,
        "gelu_pytorch_tanh" => Kernels.Activation.GeluTanh,
        string other => throw new ModelLoadException($"hidden_act: expected silu or gelu_pytorch_tanh, found '{other}'."),
    };

    private PlainActivation PlainActivation() => _config.HiddenActivation switch
    {
        "gelu" => Kernels.PlainActivation.Gelu,
        "gelu_pytorch_tanh" or "gelu_new" or "gelu_fast" => Kernels.PlainActivation.GeluTanh,
        string other => throw new ModelLoadException($"hidden_act: expected gelu, gelu_pytorch_tanh, gelu_new or gelu_fast, found '{other}'."),
    };
}
